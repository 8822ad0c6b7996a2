/**
 * Keys of addresses (`network/ip`) and of blocks of addresses (`network/ip/length`), and which block covers which
 * address. Any other key is neither: names of workloads and services pass through here too.
 */
import { type CompiledRange, compileRange, type ParsedIp, parseIp, rangeContains } from '../model/ip.ts';

export interface AddressKey {
  readonly network: string;
  readonly ip: ParsedIp;
}

export interface BlockKey {
  readonly network: string;
  readonly length: number;
  readonly range: CompiledRange;
}

export function parseAddressKey(key: string): AddressKey | undefined {
  const [network = '', address, ...rest] = key.split('/');
  const ip = address === undefined || rest.length > 0 ? undefined : parseIp(address);
  return ip && { network, ip };
}

export function parseBlockKey(key: string): BlockKey | undefined {
  const [network = '', ip, length, ...rest] = key.split('/');
  if (ip === undefined || length === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return undefined;
  const range = compileRange({ ip, prefixLength: Number(length) });
  return range && { network, length: Number(length), range };
}

export function covers({ network, range }: BlockKey, address: AddressKey): boolean {
  return network === address.network && rangeContains(range, address.ip);
}

/** Blocks by what they cover: a lookup costs one step for each network and length there is, not for each block. */
export class BlockIndex {
  readonly #groups = new Map<string, { readonly sample: BlockKey; readonly byBase: Map<bigint, Set<string>> }>();

  /** Takes any key; one that is no block is left out. */
  add(key: string): void {
    const block = parseBlockKey(key);
    if (!block) return;
    const group = this.#groups.get(groupOf(block)) ?? { sample: block, byBase: new Map<bigint, Set<string>>() };
    this.#groups.set(groupOf(block), group);
    group.byBase.set(block.range.base, (group.byBase.get(block.range.base) ?? new Set()).add(key));
  }

  remove(key: string): void {
    const block = parseBlockKey(key);
    const group = block && this.#groups.get(groupOf(block));
    const keys = group?.byBase.get(block?.range.base ?? 0n);
    if (!block || !group || !keys?.delete(key)) return;
    if (keys.size === 0) group.byBase.delete(block.range.base);
    if (group.byBase.size === 0) this.#groups.delete(groupOf(block));
  }

  /** Keys of the blocks that cover the address of that key; none when it is no address. */
  covering(key: string): readonly string[] {
    const address = this.#groups.size === 0 ? undefined : parseAddressKey(key);
    if (!address) return [];
    return [...this.#groups.values()].flatMap(({ sample: { network, range }, byBase }) => {
      if (network !== address.network || range.family !== address.ip.family) return [];
      return [...(byBase.get(address.ip.value >> range.shift) ?? [])];
    });
  }
}

function groupOf({ network, length, range }: BlockKey): string {
  return `${network}/${range.family}/${length}`;
}
