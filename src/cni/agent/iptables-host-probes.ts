/**
 * The exemption of the kubelet's probes by iptables, for nodes that capture by it. One rule for each address takes the
 * place of a set: a node has some hundred pods at most, and no other tool is needed. The chain is replaced as a whole.
 * Source: Istio host rules for probes; iptables-extensions(8) `owner`, `comment`.
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { canonicalIp, ipFamily } from '../../model/ip.ts';
import {
  chooseIptables,
  type IptablesBinaries,
  type IptablesVariant,
  mustRun,
  PROBE_SOURCE,
  type RunCommand,
} from '../redirect/index.ts';
import type { HostProbePort } from './host-probes.ts';

const CHAIN = 'ISTIO_POSTRT';
const JUMP = `POSTROUTING -j ${CHAIN}`;
/** Only the first packet, made by a process of the node: a forwarded one has no socket here. */
const LOCAL_OPENING = '-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m owner --socket-exists';

export interface IptablesHostProbesOptions {
  readonly run: RunCommand;
  readonly log: Logger;
  readonly force?: IptablesVariant;
  readonly ipv6: boolean;
}

/** The whole chain. `hasJump`: whether POSTROUTING leads there already; ours comes first. Pure. */
export function hostChain(family: 4 | 6, owners: ReadonlyMap<string, string>, hasJump: boolean): string {
  const rules = [...owners].filter(([ip]) => ipFamily(ip) === family).map(([ip, uid]) => ruleText(family, ip, uid));
  const jump = hasJump ? [] : [`-I ${JUMP}`];
  return `${['*nat', `:${CHAIN} - [0:0]`, ...jump, ...rules, 'COMMIT'].join('\n')}\n`;
}

/** Addresses and the UIDs beside them in the text of iptables-save. Total. */
export function parseHostChain(dump: string): ReadonlyMap<string, string> {
  const rules = dump.split('\n').filter((line) => line.startsWith(`-A ${CHAIN} `));
  return new Map(
    rules.flatMap((rule) => {
      const ip = canonicalIp(/ -d ([^\s/]+)/.exec(rule)?.[1] ?? '');
      const uid = / --comment "?([^\s"]+)/.exec(rule)?.[1];
      return ip === undefined || uid === undefined ? [] : [[ip, uid] as const];
    }),
  );
}

export class IptablesHostProbes implements HostProbePort {
  readonly #options: IptablesHostProbesOptions;
  readonly #owners = new Map<string, string>();
  #binaries: IptablesBinaries | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: IptablesHostProbesOptions) {
    this.#options = options;
  }

  async install(): Promise<void> {
    this.#binaries ??= await chooseIptables(this.#options.run, this.#options);
    this.#owners.clear();
    for (const family of this.#families()) {
      for (const [ip, uid] of parseHostChain(await this.#save(family))) this.#owners.set(ip, uid);
    }
    await this.#write();
  }

  async settle(known: (uid: string) => boolean): Promise<void> {
    for (const uid of new Set(this.#owners.values())) if (!known(uid)) await this.remove(uid);
  }

  async add(uid: string, ips: readonly string[]): Promise<void> {
    const missing = ips.filter((ip) => this.#owners.get(ip) !== uid);
    if (missing.length === 0) return;
    for (const ip of missing) this.#owners.set(ip, uid);
    try {
      await this.#write();
    } catch (error) {
      for (const ip of missing) if (this.#owners.get(ip) === uid) this.#owners.delete(ip);
      throw error;
    }
  }

  async remove(uid: string): Promise<void> {
    const ips = [...this.#owners].filter(([, owner]) => owner === uid).map(([ip]) => ip);
    if (ips.length === 0) return;
    for (const ip of ips) this.#owners.delete(ip);
    try {
      await this.#write();
    } catch (error) {
      for (const ip of ips) if (!this.#owners.has(ip)) this.#owners.set(ip, uid);
      throw error;
    }
  }

  async uninstall(): Promise<void> {
    try {
      for (const family of this.#families()) {
        if (!(await this.#hasJump(family))) continue;
        await this.#restore(family, `*nat\n:${CHAIN} - [0:0]\n-D ${JUMP}\n-X ${CHAIN}\nCOMMIT\n`);
      }
    } catch (error) {
      this.#options.log.warn('the rules for probes stay', { error: errorMessage(error) });
    }
  }

  /** One writer at a time: the last one writes what all asked for. */
  #write(): Promise<void> {
    const written = this.#last.then(async () => {
      for (const family of this.#families()) {
        await this.#restore(family, hostChain(family, this.#owners, await this.#hasJump(family)));
      }
    });
    this.#last = written.catch(() => {});
    return written;
  }

  async #hasJump(family: 4 | 6): Promise<boolean> {
    return (await this.#save(family)).includes(`-A ${JUMP}\n`);
  }

  async #save(family: 4 | 6): Promise<string> {
    const save = this.#binaries?.save(family) ?? [];
    return await mustRun(this.#options.run, undefined, [...save, '-t', 'nat']);
  }

  async #restore(family: 4 | 6, input: string): Promise<void> {
    await mustRun(this.#options.run, undefined, this.#binaries?.restore(family) ?? [], { input });
  }

  #families(): readonly (4 | 6)[] {
    if (this.#binaries === undefined) return [];
    return this.#options.ipv6 ? [4, 6] : [4];
  }
}

/** UIDs come from the API; in the text they are one word. */
function ruleText(family: 4 | 6, ip: string, uid: string): string {
  const comment = uid.replaceAll(/[^A-Za-z0-9._:-]/g, '_').slice(0, 128) || 'unknown';
  const to = `-d ${ip}/${family === 4 ? 32 : 128}`;
  return `-A ${CHAIN} ${to} ${LOCAL_OPENING} -m comment --comment ${comment} -j SNAT --to-source ${PROBE_SOURCE[family]}`;
}
