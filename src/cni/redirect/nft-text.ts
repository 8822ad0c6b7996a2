/**
 * Rules as input of `nft -f -`. One input is one transaction: the tables are made when missing, emptied and filled
 * again, so that applying twice gives the same and no packet ever meets half of them.
 * Source: nft(8); names, types and priorities as Istio's agent gives them.
 */
import { MARK_MASK } from '../../model/ports.ts';
import type { AddressPair, Match, Rule, RuleChain, RuleTable } from './rules.ts';

export const NFT_TABLES: readonly RuleTable[] = ['mangle', 'raw', 'nat'];

const BASE_CHAINS: Readonly<Record<RuleTable, Readonly<Record<RuleChain, string>>>> = {
  nat: {
    prerouting: 'type nat hook prerouting priority -100; policy accept;',
    output: 'type nat hook output priority -100; policy accept;',
  },
  mangle: {
    prerouting: 'type filter hook prerouting priority -150; policy accept;',
    output: 'type route hook output priority -150; policy accept;',
  },
  raw: {
    prerouting: 'type filter hook prerouting priority -300; policy accept;',
    output: 'type filter hook output priority -300; policy accept;',
  },
};

export function nftTableName(table: RuleTable): string {
  return `istio-ambient-${table}`;
}

/** Replaces what the tables hold by `rules`. */
export function nftRuleset(rules: readonly Rule[], families: readonly (4 | 6)[]): string {
  const lines: string[] = [];
  for (const table of NFT_TABLES) {
    const name = `inet ${nftTableName(table)}`;
    lines.push(`add table ${name}`, `flush table ${name}`);
    for (const chain of ['prerouting', 'output'] as const) {
      lines.push(`add chain ${name} ${chain} { ${BASE_CHAINS[table][chain]} }`);
      lines.push(`add chain ${name} istio-${chain}`);
      lines.push(`add rule ${name} ${chain} counter jump istio-${chain}`);
    }
    for (const rule of rules.filter((r) => r.table === table)) {
      for (const text of ruleTexts(rule, families)) lines.push(`add rule ${name} istio-${rule.chain} ${text}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Removes the tables. They are added first, so that removing what is not there is no error. */
export function nftRemoval(): string {
  return NFT_TABLES.map((table) => `inet ${nftTableName(table)}`)
    .flatMap((name) => [`add table ${name}`, `delete table ${name}`])
    .map((line) => `${line}\n`)
    .join('');
}

/** A rule with an address becomes one rule for each family, any other one rule in all. */
function ruleTexts(rule: Rule, families: readonly (4 | 6)[]): readonly string[] {
  const own = rule.matches.find((m) => m.on === 'destination-range');
  if (own !== undefined && !families.includes(own.family)) return [];
  const isFamilyBound = rule.matches.some((m) => m.on === 'source' || m.on === 'destination');
  const needsFamily = isFamilyBound || (families.length === 1 && rule.action.do === 'redirect');
  const texts = (family: 4 | 6 | undefined): string => {
    const matches = rule.matches.map((match) => matchText(match, family ?? 4));
    const guard = needsFamily && !isFamilyBound ? [`meta nfproto ${family === 6 ? 'ipv6' : 'ipv4'}`] : [];
    return [...guard, ...matches, 'counter', actionText(rule)].join(' ');
  };
  return needsFamily ? families.map(texts) : [texts(undefined)];
}

function matchText(match: Match, family: 4 | 6): string {
  switch (match.on) {
    case 'protocol':
      return `meta l4proto ${match.protocol}`;
    case 'source':
      return addressText('saddr', match.address, family, match.not);
    case 'destination':
      return addressText('daddr', match.address, family, match.not);
    case 'destination-range':
      return `${match.family === 4 ? 'ip' : 'ip6'} daddr ${match.range.ip}/${match.range.prefixLength}`;
    case 'source-port':
      return `th sport ${equals(match.not)}${match.port}`;
    case 'destination-port':
      return `th dport ${equals(match.not)}${match.port}`;
    case 'in-interface':
      return `iifname ${equals(match.not)}"${match.name}"`;
    case 'out-interface':
      return `oifname ${equals(match.not)}"${match.name}"`;
    case 'mark':
      return `meta mark and ${hex(MARK_MASK)} ${match.not ? '!=' : '=='} ${hex(match.mark)}`;
    case 'connection-mark':
      return `ct mark and ${hex(MARK_MASK)} == ${hex(match.mark)}`;
    case 'syn':
      return 'tcp flags & (fin|syn|rst|ack) == syn';
    case 'established':
      return 'ct state established';
  }
}

function actionText({ action }: Rule): string {
  switch (action.do) {
    case 'accept':
      return 'accept';
    case 'return':
      return 'return';
    case 'no-track':
      return 'notrack';
    case 'restore-mark':
      return 'meta mark set ct mark';
    case 'redirect':
      return `redirect to :${action.port}`;
    case 'mark-connection':
      return `ct mark set ct mark and ${hex((~MARK_MASK & 0xffffffff) >>> 0)} or ${hex(action.mark)}`;
    case 'zone':
      return `ct zone set ${action.zone}`;
  }
}

function addressText(side: 'saddr' | 'daddr', address: AddressPair, family: 4 | 6, not: true | undefined): string {
  return `${family === 4 ? 'ip' : 'ip6'} ${side} ${equals(not)}${address[family]}`;
}

function equals(not: true | undefined): string {
  return not ? '!= ' : '';
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
