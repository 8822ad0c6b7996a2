/**
 * Redirection by iptables inside the pod, for nodes without nftables. The lock of the legacy variant, useless in a
 * namespace of its own and contended between pods, is a file of each call. Both families are changed at once: half the
 * time of a pod's start.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from 'culvert-netns';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { chooseIptables, type IptablesBinaries, type IptablesVariant } from './iptables-binary.ts';
import { iptablesRemoval, iptablesRuleset, parseResidue, type Residue } from './iptables-text.ts';
import { mustRun, type RunCommand } from './netns-command.ts';
import type { CapturedPod, CaptureState, RedirectBackend, Usability } from './port.ts';
import { installReturnPath, removeReturnPath } from './return-path.ts';
import { captureRules, drainRules, type Rule } from './rules.ts';

export interface IptablesOptions {
  readonly run: RunCommand;
  readonly force?: IptablesVariant;
  readonly ipv6: boolean;
  /** Folder for lock files. */
  readonly lockDir: string;
}

export class IptablesBackend implements RedirectBackend {
  readonly name = 'iptables';
  readonly #options: IptablesOptions;
  #binaries: IptablesBinaries | undefined;

  constructor(options: IptablesOptions) {
    this.#options = options;
  }

  async probe(): Promise<Usability> {
    try {
      await this.open();
      return { usable: true };
    } catch (error) {
      return { usable: false, reason: errorMessage(error) };
    }
  }

  refusal(): undefined {
    return undefined;
  }

  async open(): Promise<void> {
    this.#binaries ??= await chooseIptables(this.#options.run, this.#options);
  }

  async prepare({ netns, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
  }

  async capture({ netns, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
    await this.#apply(netns, options.ipv6, captureRules(options));
  }

  async release({ netns, options }: CapturedPod): Promise<void> {
    await this.#apply(netns, options.ipv6, drainRules());
  }

  async clear({ netns, options }: CapturedPod): Promise<void> {
    await eachFamily(options.ipv6, async (family) => {
      await this.#restore(netns, family, iptablesRemoval(await this.#residue(netns, family)));
    });
    removeReturnPath(netns, options.ipv6);
  }

  async inspect({ netns, options }: CapturedPod): Promise<CaptureState> {
    const found = await Promise.all(families(options.ipv6).map((family) => this.#residue(netns, family)));
    if (found.some(({ redirects }) => redirects)) return 'capturing';
    return found.some(({ chains, jumps }) => chains.length + jumps.length > 0) ? 'draining' : 'absent';
  }

  async forget(): Promise<void> {}
  async tunnelConnected(): Promise<void> {}
  async uninstall(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}

  async #apply(netns: Netns, ipv6: boolean, rules: readonly Rule[]): Promise<void> {
    await eachFamily(ipv6, async (family) => {
      await this.#restore(netns, family, iptablesRuleset(rules, family, await this.#residue(netns, family)));
    });
  }

  async #residue(netns: Netns, family: 4 | 6): Promise<Residue> {
    return parseResidue(await mustRun(this.#options.run, netns, this.#tools().save(family)));
  }

  async #restore(netns: Netns, family: 4 | 6, input: string): Promise<void> {
    if (input === '') return;
    const lock = join(this.#options.lockDir, `xtables-${netns.id.replace(':', '-')}-${family}.lock`);
    try {
      const env = { XTABLES_LOCKFILE: lock };
      await mustRun(this.#options.run, netns, this.#tools().restore(family), { input, env });
    } finally {
      await rm(lock, { force: true });
    }
  }

  #tools(): IptablesBinaries {
    if (this.#binaries === undefined) throw new MeshError('ERR_REDIRECT', 'the iptables back-end is not open');
    return this.#binaries;
  }
}

/** Rejects with the first error when both have ended: nothing goes on behind the caller's back. */
async function eachFamily(ipv6: boolean, change: (family: 4 | 6) => Promise<void>): Promise<void> {
  const ended = await Promise.allSettled(families(ipv6).map(change));
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
}

function families(ipv6: boolean): readonly (4 | 6)[] {
  return ipv6 ? [4, 6] : [4];
}
