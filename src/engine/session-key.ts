/** An HBONE session's place in the pool, and the words when its peer cannot be reached. */
import { errnoName, MeshError } from '../core/errors.ts';
import { type Identity, identityUri, parseIdentity } from '../model/identity.ts';
import { formatIpPort } from '../model/ip.ts';
import type { HboneSessionKey } from './port.ts';
import { ioErrorText } from './system-error.ts';

/** Sessions that differ in any part of it are never shared. */
export function poolKey({ identity, expectedIdentities, peer, sourceIp }: HboneSessionKey): string {
  return JSON.stringify([identityUri(identity), expectedIdentities, peer.ip, peer.port, sourceIp]);
}

/** What `poolKey` wrote of who talks to whom. Throws ERR_IDENTITY for anything else. */
export function parsePoolKey(text: string): {
  readonly identity: Identity;
  readonly expectedIdentities: readonly string[];
} {
  const [uri, expectedIdentities] = JSON.parse(text) as [string, readonly string[]]; // written by poolKey
  const identity = parseIdentity(uri);
  if (!identity) throw new MeshError('ERR_IDENTITY', `no SPIFFE identity: ${uri}`);
  return { identity, expectedIdentities };
}

/** ERR_DIAL_TIMEOUT or ERR_DIAL. */
export function sessionDialError(cause: unknown, { peer }: HboneSessionKey): MeshError {
  if (errnoName(cause) !== 'ETIMEDOUT') return new MeshError('ERR_DIAL', ioErrorText(cause), { cause });
  const text = `connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ${formatIpPort(peer)}`;
  return new MeshError('ERR_DIAL_TIMEOUT', text, { cause });
}
