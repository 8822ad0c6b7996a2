/** Lists of addresses from outside. */
import { canonicalIp } from '../../model/ip.ts';

/** Canonical and without repetition; what is no address is dropped. */
export function canonicalIps(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.flatMap((text) => canonicalIp(text) ?? []))];
}
