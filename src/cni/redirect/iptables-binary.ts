/**
 * Which iptables to use: the legacy one where a node already has rules in it, else the nftables one, else whatever is
 * called `iptables`. Chosen once, in the node's namespace, and used for every pod.
 * Source: Istio's rules for the choice.
 */
import { MeshError } from '../../core/errors.ts';
import type { RunCommand } from './netns-command.ts';

export type IptablesVariant = 'legacy' | 'nft';

export interface IptablesBinaries {
  /** For messages: `iptables-nft`. */
  readonly name: string;
  save(family: 4 | 6): readonly string[];
  restore(family: 4 | 6): readonly string[];
}

/** A dump with at least this many lines holds rules. */
const LINES_WITH_RULES = 3;
/** Protocol 255 is reserved: the rule matches nothing. */
const NO_OP_RULE = ['INPUT', '-p', '255', '-j', 'RETURN'];

/** Rejects with ERR_UNSUPPORTED when none works. `ipv6`: ip6tables must work as well. */
export async function chooseIptables(
  run: RunCommand,
  options: { readonly force?: IptablesVariant; readonly ipv6: boolean },
): Promise<IptablesBinaries> {
  const { force, ipv6 } = options;
  const works = async (suffix: string): Promise<boolean> =>
    (await isUsable(run, 'iptables', suffix)) && (!ipv6 || (await isUsable(run, 'ip6tables', suffix)));
  if (force !== undefined) {
    if (await works(`-${force}`)) return binaries(`-${force}`);
    throw new MeshError('ERR_UNSUPPORTED', `iptables-${force} does not work here`);
  }
  if ((await hasLegacyRules(run)) && (await works('-legacy'))) return binaries('-legacy');
  for (const suffix of ['-nft', '']) if (await works(suffix)) return binaries(suffix);
  throw new MeshError('ERR_UNSUPPORTED', 'no iptables works here; is the package iptables installed?');
}

function binaries(suffix: string): IptablesBinaries {
  const base = (family: 4 | 6): string => `${family === 4 ? 'iptables' : 'ip6tables'}${suffix}`;
  return {
    name: base(4),
    save: (family) => [`${base(family)}-save`],
    restore: (family) => [`${base(family)}-restore`, '--noflush', '--wait=5'],
  };
}

async function hasLegacyRules(run: RunCommand): Promise<boolean> {
  try {
    const { status, stdout } = await run(undefined, ['iptables-legacy-save']);
    return status === 0 && stdout.trim().split('\n').length >= LINES_WITH_RULES && stdout.includes('\n-A ');
  } catch {
    return false;
  }
}

async function isUsable(run: RunCommand, base: string, suffix: string): Promise<boolean> {
  const tool = `${base}${suffix}`;
  const rule = (verb: string): readonly string[] => [tool, '-w', '5', '-t', 'nat', verb, ...NO_OP_RULE];
  try {
    if ((await run(undefined, [`${tool}-save`])).status !== 0) return false;
    if (!/v\d+\.\d+/.test((await run(undefined, [tool, '--version'])).stdout)) return false;
    if ((await run(undefined, rule('-A'))).status !== 0) return false;
    return (await run(undefined, rule('-D'))).status === 0;
  } catch {
    return false;
  }
}
