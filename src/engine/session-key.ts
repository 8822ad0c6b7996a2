/** An HBONE session's place in the pool, and the words when its peer cannot be reached. */
import { errnoName, MeshError } from '../core/errors.ts';
import { identityUri } from '../model/identity.ts';
import { formatIpPort } from '../model/ip.ts';
import type { HboneSessionKey } from './port.ts';
import { ioErrorText } from './system-error.ts';

/** Sessions that differ in any part of it are never shared. */
export function poolKey({ identity, expectedIdentities, peer, sourceIp }: HboneSessionKey): string {
  return JSON.stringify([identityUri(identity), expectedIdentities, peer.ip, peer.port, sourceIp]);
}

/** ERR_DIAL_TIMEOUT or ERR_DIAL. */
export function sessionDialError(cause: unknown, { peer }: HboneSessionKey): MeshError {
  if (errnoName(cause) !== 'ETIMEDOUT') return new MeshError('ERR_DIAL', ioErrorText(cause), { cause });
  const text = `connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: ${formatIpPort(peer)}`;
  return new MeshError('ERR_DIAL_TIMEOUT', text, { cause });
}
