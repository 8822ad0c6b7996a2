/**
 * Rules as input of `iptables-restore --noflush`, one family at a time. Our chains are declared, which empties them, and
 * filled in the same commit; jumps from the built-in chains are added only where they are missing. Each table is
 * replaced in one step, so no packet finds our chains absent and no guarding DROP rules are needed meanwhile.
 * Source: iptables-restore(8), iptables-extensions(8); chains and order as Istio's agent gives them.
 */
import { MARK_MASK } from '../../model/ports.ts';
import type { Match, Rule, RuleChain, RuleTable } from './rules.ts';

const TABLES: readonly RuleTable[] = ['mangle', 'raw', 'nat'];
const CHAINS: readonly RuleChain[] = ['prerouting', 'output'];
const OUR_CHAIN: Readonly<Record<RuleChain, string>> = { prerouting: 'ISTIO_PRERT', output: 'ISTIO_OUTPUT' };

/** What `iptables-save` shows of ours: chains named `ISTIO_*` and the rules that jump to one. */
export interface Residue {
  readonly chains: readonly { readonly table: string; readonly chain: string }[];
  /** Whole rules without the `-A`, such as `PREROUTING -j ISTIO_PRERT`. */
  readonly jumps: readonly { readonly table: string; readonly rule: string }[];
  readonly redirects: boolean;
}

/** Reads the output of `iptables-save`. Total: what is not understood is not ours. */
export function parseResidue(dump: string): Residue {
  const chains: { table: string; chain: string }[] = [];
  const jumps: { table: string; rule: string }[] = [];
  let redirects = false;
  let table = '';
  for (const line of dump.split('\n')) {
    const declared = /^:(ISTIO_\S+) /.exec(line)?.[1];
    const rule = /^-A (.+)$/.exec(line)?.[1];
    if (line.startsWith('*')) table = line.slice(1).trim();
    else if (declared !== undefined) chains.push({ table, chain: declared });
    else if (rule === undefined) continue;
    else if (/^ISTIO_/.test(rule)) redirects ||= rule.includes('-j REDIRECT');
    else if (/ -[jg] ISTIO_/.test(rule)) jumps.push({ table, rule });
  }
  return { chains, jumps, redirects };
}

/** Brings the tables from what `residue` shows to `rules`; anything else of ours is removed in the same step. */
export function iptablesRuleset(rules: readonly Rule[], family: 4 | 6, residue: Residue): string {
  return TABLES.map((table) => {
    const wantedJumps = CHAINS.map((chain) => jumpTo(chain));
    const wantedChains = CHAINS.map((chain) => OUR_CHAIN[chain]);
    const there = residue.jumps.filter((jump) => jump.table === table).map((jump) => jump.rule);
    const stale = there.filter((rule, index) => !wantedJumps.includes(rule) || there.indexOf(rule) !== index);
    const left = residue.chains.filter((c) => c.table === table && !wantedChains.includes(c.chain)).map((c) => c.chain);
    return [
      `*${table}`,
      ...[...wantedChains, ...left].map((chain) => `:${chain} - [0:0]`),
      ...stale.map((rule) => `-D ${rule}`),
      ...left.map((chain) => `-X ${chain}`),
      ...wantedJumps.filter((rule) => !there.includes(rule)).map((rule) => `-A ${rule}`),
      ...rules.filter((rule) => rule.table === table && isFor(rule, family)).map((rule) => ruleText(rule, family)),
      'COMMIT',
      '',
    ].join('\n');
  }).join('');
}

/** Removes everything that `residue` shows; empty when there is nothing. */
export function iptablesRemoval({ chains, jumps }: Residue): string {
  const tables = [...new Set([...chains, ...jumps].map(({ table }) => table))];
  return tables
    .map((table) => {
      const ours = chains.filter((c) => c.table === table).map((c) => c.chain);
      return [
        `*${table}`,
        ...ours.map((chain) => `:${chain} - [0:0]`),
        ...jumps.filter((jump) => jump.table === table).map((jump) => `-D ${jump.rule}`),
        ...ours.map((chain) => `-X ${chain}`),
        'COMMIT',
        '',
      ].join('\n');
    })
    .join('');
}

function isFor({ matches }: Rule, family: 4 | 6): boolean {
  return matches.every((match) => match.on !== 'destination-range' || match.family === family);
}

function jumpTo(chain: RuleChain): string {
  return `${chain.toUpperCase()} -j ${OUR_CHAIN[chain]}`;
}

function ruleText({ chain, matches, action }: Rule, family: 4 | 6): string {
  // A port or flag match belongs behind its protocol; iptables wants them in that order.
  const ordered = [...matches].sort((a, b) => Number(a.on !== 'protocol') - Number(b.on !== 'protocol'));
  const protocol = matches.find((m) => m.on === 'protocol');
  const words = ordered.map((match) => matchText(match, family, protocol?.on === 'protocol' ? protocol.protocol : ''));
  return [`-A ${OUR_CHAIN[chain]}`, ...words, actionText(action)].join(' ');
}

function matchText(match: Match, family: 4 | 6, protocol: string): string {
  const bang = 'not' in match && match.not ? '! ' : '';
  const bits = family === 4 ? 32 : 128;
  switch (match.on) {
    case 'protocol':
      return `-p ${match.protocol}`;
    case 'source':
      return `${bang}-s ${match.address[family]}/${bits}`;
    case 'destination':
      return `${bang}-d ${match.address[family]}/${bits}`;
    case 'destination-range':
      return `-d ${match.range.ip}/${match.range.prefixLength}`;
    case 'source-port':
      return `-m ${protocol} ${bang}--sport ${match.port}`;
    case 'destination-port':
      return `-m ${protocol} ${bang}--dport ${match.port}`;
    case 'in-interface':
      return `${bang}-i ${match.name}`;
    case 'out-interface':
      return `${bang}-o ${match.name}`;
    case 'mark':
      return `-m mark ${bang}--mark ${hex(match.mark)}/${hex(MARK_MASK)}`;
    case 'connection-mark':
      return `-m connmark --mark ${hex(match.mark)}/${hex(MARK_MASK)}`;
    case 'syn':
      return '-m tcp --tcp-flags FIN,SYN,RST,ACK SYN';
    case 'established':
      return '-m conntrack --ctstate ESTABLISHED';
  }
}

function actionText(action: Rule['action']): string {
  switch (action.do) {
    case 'accept':
      return '-j ACCEPT';
    case 'return':
      return '-j RETURN';
    case 'no-track':
      return '-j CT --notrack';
    case 'restore-mark':
      return '-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff';
    case 'redirect':
      return `-j REDIRECT --to-ports ${action.port}`;
    case 'mark-connection':
      return `-j CONNMARK --set-xmark ${hex(action.mark)}/${hex(MARK_MASK)}`;
    case 'zone':
      return `-j CT --zone ${action.zone}`;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
