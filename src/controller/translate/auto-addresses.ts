/**
 * Addresses for ServiceEntry hosts that have none, so that connections to them can be told apart.
 * Source: Istio control plane, ranges 240.240.0.0/16 and 2001:2::/48.
 *
 * An address once in a status stays; new hosts get the lowest free number, oldest entry first.
 */
import { formatIp, parseIp } from '../../model/ip.ts';
import { byAge, nameOf, type ServiceEntry } from '../resources.ts';

export interface AllocatedAddress {
  readonly host: string;
  readonly ip: string;
}

const V4_BASE = parseIp('240.240.0.0')?.value ?? 0n;
const V6_BASE = parseIp('2001:2::')?.value ?? 0n;
/** Network and broadcast address stay unused. */
const MAX_NUMBER = 65_534;

/** By `namespace/name` of the entry; entries that need none are absent. Hosts beyond the range get none. */
export function allocateAddresses(entries: readonly ServiceEntry[]): ReadonlyMap<string, readonly AllocatedAddress[]> {
  const wanting = entries.filter(needsAddresses).sort(byAge);
  const numbers = new Map<string, number>();
  const taken = new Set<number>();
  for (const entry of wanting) {
    for (const host of hostsOf(entry)) {
      const number = keptNumber(entry, host);
      if (number === undefined || taken.has(number)) continue;
      taken.add(number);
      numbers.set(`${nameOf(entry)} ${host}`, number);
    }
  }
  let next = 1;
  const result = new Map<string, readonly AllocatedAddress[]>();
  for (const entry of wanting) {
    const allocated = hostsOf(entry).flatMap((host) => {
      let number = numbers.get(`${nameOf(entry)} ${host}`);
      if (number === undefined) {
        while (taken.has(next)) next += 1;
        if (next > MAX_NUMBER) return [];
        number = next;
        taken.add(number);
      }
      return [
        { host, ip: formatIp({ family: 4, value: V4_BASE + BigInt(number) }) },
        { host, ip: formatIp({ family: 6, value: V6_BASE + BigInt(number) }) },
      ];
    });
    result.set(nameOf(entry), allocated);
  }
  return result;
}

function needsAddresses({ spec, metadata }: ServiceEntry): boolean {
  if ((spec.addresses ?? []).length > 0 || (spec.resolution ?? 'NONE') === 'NONE') return false;
  return metadata.labels?.['networking.istio.io/enable-autoallocate-ip']?.toLowerCase() !== 'false';
}

/** Wildcard hosts can be resolved only dynamically. */
function hostsOf({ spec }: ServiceEntry): readonly string[] {
  return [...new Set(spec.hosts)].filter((host) => !host.startsWith('*') || spec.resolution === 'DYNAMIC_DNS');
}

function keptNumber({ status }: ServiceEntry, host: string): number | undefined {
  for (const address of status?.addresses ?? []) {
    const parsed = address.host === host ? parseIp(address.value ?? '') : undefined;
    if (parsed?.family !== 4) continue;
    const number = parsed.value - V4_BASE;
    if (number > 0n && number <= BigInt(MAX_NUMBER)) return Number(number);
  }
  return undefined;
}
