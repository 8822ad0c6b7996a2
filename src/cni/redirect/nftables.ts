/** Redirection by nftables: three tables inside the pod, changed in one transaction. Needs the program `nft`. */
import { errorMessage } from '../../core/errors.ts';
import { mustRun, type RunCommand } from './netns-command.ts';
import { nftRemoval, nftRuleset, nftTableName } from './nft-text.ts';
import type { CapturedPod, CaptureState, RedirectBackend, Usability } from './port.ts';
import { installReturnPath, removeReturnPath } from './return-path.ts';
import { captureRules, drainRules } from './rules.ts';

const NFT_APPLY = ['nft', '-f', '-'];
const NAT_TABLE = nftTableName('nat');

export class NftablesBackend implements RedirectBackend {
  readonly name = 'nftables';
  readonly #run: RunCommand;

  constructor(run: RunCommand) {
    this.#run = run;
  }

  async probe(): Promise<Usability> {
    try {
      // `-c` checks against the kernel without changing anything.
      await mustRun(this.#run, undefined, ['nft', '-c', '-f', '-'], { input: nftRuleset(drainRules(), [4, 6]) });
      return { usable: true };
    } catch (error) {
      return { usable: false, reason: errorMessage(error) };
    }
  }

  refusal(): undefined {
    return undefined;
  }

  async open(): Promise<void> {}

  async prepare({ netns, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
  }

  async capture({ netns, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
    const input = nftRuleset(captureRules(options), options.ipv6 ? [4, 6] : [4]);
    await mustRun(this.#run, netns, NFT_APPLY, { input });
  }

  async release({ netns, options }: CapturedPod): Promise<void> {
    const input = nftRuleset(drainRules(), options.ipv6 ? [4, 6] : [4]);
    await mustRun(this.#run, netns, NFT_APPLY, { input });
  }

  async clear({ netns, options }: CapturedPod): Promise<void> {
    await mustRun(this.#run, netns, NFT_APPLY, { input: nftRemoval() });
    removeReturnPath(netns, options.ipv6);
  }

  async inspect({ netns }: CapturedPod): Promise<CaptureState> {
    const { status, stdout } = await this.#run(netns, ['nft', '-s', 'list', 'table', 'inet', NAT_TABLE]);
    if (status !== 0) return 'absent';
    return stdout.includes('redirect to') ? 'capturing' : 'draining';
  }

  async forget(): Promise<void> {}
  async tunnelConnected(): Promise<void> {}
  async uninstall(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}
