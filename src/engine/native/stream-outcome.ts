/** What the end that a thread told means in the words of the port. */
import { STATUS_CODES } from 'node:http';
import { constants } from 'node:os';
import { MeshError } from '../../core/errors.ts';
import { toFailure } from '../failure.ts';
import { END_CAUSE } from './addon.ts';
import type { StreamEnded } from './engine-threads.ts';
import type { NativeConnection } from './native-connection.ts';

export function endConnection(connection: NativeConnection, end: StreamEnded): void {
  const { bytesReceived, bytesSent, headers } = end;
  const failure = toError(end);
  const { flag, error } = failure ? toFailure(failure) : { flag: '-' as const, error: undefined };
  connection.end(flag, { error, bytesReceived, bytesSent, headers });
}

/** Undefined for an end in order. */
export function toError({ cause, detail }: StreamEnded): Error | undefined {
  switch (cause) {
    case END_CAUSE.order:
      return undefined;
    case END_CAUSE.status:
      return new MeshError('ERR_HBONE_STATUS', `http status: ${detail} ${STATUS_CODES[detail] ?? ''}`.trimEnd());
    case END_CAUSE.aborted:
      return new MeshError('ERR_ABORTED', 'the application closed the connection');
    case END_CAUSE.noAnswer:
      return new MeshError('ERR_HBONE_DIAL', `no answer to CONNECT in ${detail} ms`);
    default:
      return Object.assign(new Error('a socket failed'), { code: errnoNameOf(detail) });
  }
}

function errnoNameOf(number: number): string {
  const entry = Object.entries(constants.errno).find(([, value]) => value === number);
  return entry?.[0] ?? `E${number}`;
}
