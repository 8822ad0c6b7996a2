/** Headers that end at a proxy. Source: RFC 9110 section 7.6.1. */
import type { HeaderList } from './header-list.ts';

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'transfer-encoding',
  'te',
  'upgrade',
  'http2-settings',
  'expect',
]);

export function hasHopByHop(headers: HeaderList): boolean {
  for (const [name] of headers) if (HOP_BY_HOP.has(name)) return true;
  return false;
}

/** `te: trailers` stays: gRPC asks for it. With `upgrade` the request for it stays, too. */
export function removeHopByHop(headers: HeaderList, upgrade: boolean): void {
  const connection = headers.get('connection');
  const protocol = upgrade ? headers.get('upgrade') : undefined;
  const trailers = headers.get('te')?.toLowerCase().includes('trailers') ?? false;
  const named = connection === undefined ? [] : connection.split(',').map((token) => token.trim().toLowerCase());
  const listed = named.filter((name) => name !== 'close' && name !== 'keep-alive' && name !== '');
  headers.deleteWhere((name) => HOP_BY_HOP.has(name) || listed.includes(name));
  if (trailers) headers.append('te', 'trailers');
  if (protocol === undefined) return;
  headers.append('connection', 'upgrade');
  headers.append('upgrade', protocol);
}
