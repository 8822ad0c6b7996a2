/** What the end that a thread told means in the words of the port. */
import { STATUS_CODES } from 'node:http';
import { constants } from 'node:os';
import { MeshError } from '../../core/errors.ts';
import { StreamRefusedError } from '../../hbone/index.ts';
import { REVOKED, toFailure } from '../failure.ts';
import type { HboneSessionKey } from '../port.ts';
import { sessionDialError } from '../session-key.ts';
import { CLOSE_CAUSE, END_CAUSE } from './addon.ts';
import type { NativeConnection } from './native-connection.ts';
import type { StreamEnded } from './thread-events.ts';

/** @param key of the session that it was to be carried over */
export function endConnection(connection: NativeConnection, end: StreamEnded, key?: HboneSessionKey): void {
  const { bytesReceived, bytesSent, durationMs, headers } = end;
  if (end.session?.isRevoked) connection.cut(REVOKED.flag, REVOKED.error);
  const failure = toError(end, key);
  const { flag, error } = failure ? toFailure(failure) : { flag: '-' as const, error: undefined };
  connection.end(flag, { error, bytesReceived, bytesSent, durationMs, headers });
}

/** Undefined for an end in order. */
export function toError(
  { cause, detail, errno, reason, session }: StreamEnded,
  key?: HboneSessionKey,
): Error | undefined {
  switch (cause) {
    case END_CAUSE.order:
      return undefined;
    case END_CAUSE.status:
      return new MeshError('ERR_HBONE_STATUS', `http status: ${detail} ${STATUS_CODES[detail] ?? ''}`.trimEnd());
    case END_CAUSE.aborted:
      return new MeshError('ERR_ABORTED', 'the application closed the connection');
    case END_CAUSE.noAnswer:
      return new MeshError('ERR_HBONE_DIAL', `no answer to CONNECT in ${detail} ms`);
    case END_CAUSE.refused:
      return new StreamRefusedError(new Error(reason));
    case END_CAUSE.session:
      if (detail === CLOSE_CAUSE.draining) return new MeshError('ERR_POOL_DRAINING', 'pool draining');
      if (detail === CLOSE_CAUSE.dial && key) return sessionDialError(systemError(errno), key);
      return session?.failure(detail, reason) ?? new MeshError('ERR_HBONE_DIAL', reason);
    default:
      return systemError(detail);
  }
}

function systemError(errno: number): Error {
  return Object.assign(new Error('a socket failed'), { code: errnoNameOf(errno) });
}

function errnoNameOf(number: number): string {
  const entry = Object.entries(constants.errno).find(([, value]) => value === number);
  return entry?.[0] ?? `E${number}`;
}
