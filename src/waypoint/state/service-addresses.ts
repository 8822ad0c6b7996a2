/** Which bound service an authority means: by virtual IP, by block, by host name. */
import { compileRange, parseIp, rangeContains } from '../../model/ip.ts';
import type { BoundService } from '../../model/l7/index.ts';

export class ServiceAddresses {
  readonly #byIp = new Map<string, string>();
  readonly #byHostname = new Map<string, string>();
  readonly #blocks: {
    readonly key: string;
    readonly prefixLength: number;
    readonly contains: (ip: string) => boolean;
  }[] = [];

  constructor(services: readonly BoundService[]) {
    for (const { namespace, hostname, addresses } of services) {
      const key = `${namespace}/${hostname}`;
      if (!this.#byHostname.has(hostname)) this.#byHostname.set(hostname, key);
      for (const { range } of addresses) {
        const full = range.ip.includes(':') ? 128 : 32;
        if (range.prefixLength >= full) {
          if (!this.#byIp.has(range.ip)) this.#byIp.set(range.ip, key);
          continue;
        }
        const compiled = compileRange(range);
        const contains = (ip: string): boolean => {
          const parsed = parseIp(ip);
          return parsed !== undefined && compiled !== undefined && rangeContains(compiled, parsed);
        };
        this.#blocks.push({ key, prefixLength: range.prefixLength, contains });
      }
    }
    this.#blocks.sort((a, b) => b.prefixLength - a.prefixLength);
  }

  /** Key of the service: the address itself before blocks, the smallest block first. */
  findByIp(ip: string): string | undefined {
    return this.#byIp.get(ip) ?? this.#blocks.find(({ contains }) => contains(ip))?.key;
  }

  findByHostname(hostname: string): string | undefined {
    return this.#byHostname.get(hostname);
  }
}
