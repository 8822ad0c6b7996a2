/** Values of policies, read strictly. Undefined: it is none. */
import type { IpRange } from '../../model/address.ts';
import { canonicalIp } from '../../model/ip.ts';

export function parsePort(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port <= 65_535 ? port : undefined;
}

/** An address, or a block of them. */
export function parseRange(text: string): IpRange | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const ip = canonicalIp(address);
  if (ip === undefined || rest.length > 0) return undefined;
  const full = ip.includes(':') ? 128 : 32;
  const prefixLength = length === undefined ? full : Number(length);
  if (length !== undefined && (!/^\d{1,3}$/.test(length) || prefixLength > full)) return undefined;
  return { ip, prefixLength };
}

/** `namespace/name`, or a name in the policy's own namespace. */
export function parseAccount(text: string, namespace: string) {
  const slash = text.indexOf('/');
  if (slash < 0) return { namespace, serviceAccount: text };
  return { namespace: text.slice(0, slash), serviceAccount: text.slice(slash + 1) };
}
