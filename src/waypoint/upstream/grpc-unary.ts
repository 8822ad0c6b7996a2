/** One unary gRPC call over the waypoint's own connections. Source: gRPC over HTTP/2. */
import { MeshError } from '../../core/errors.ts';
import { HeaderList } from '../http/header-list.ts';
import type { CallService } from './service-caller.ts';

export interface UnaryCall {
  readonly cluster: string;
  readonly port: number;
  readonly authority: string;
  /** `/package.Service/Method`. */
  readonly method: string;
  readonly message: Uint8Array;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

const PREFIX_BYTES = 5;

/** The message of the answer. Rejects as the caller does, and with ERR_MALFORMED for a failed or unreadable answer. */
export async function callUnary(
  call: CallService,
  { message, timeoutMs, maxBytes, method, ...to }: UnaryCall,
): Promise<Uint8Array> {
  const body = Buffer.alloc(PREFIX_BYTES + message.length);
  body.writeUInt32BE(message.length, 1);
  body.set(message, PREFIX_BYTES);
  const headers = new HeaderList(['content-type', 'application/grpc', 'te', 'trailers']);
  headers.append('grpc-timeout', `${timeoutMs}m`);
  const rest = { protocol: 'HTTP2', method: 'POST', target: method, headers, body, timeoutMs, maxBytes } as const;
  const answer = await call({ ...to, ...rest });
  const status = answer.trailers?.get('grpc-status') ?? answer.headers.get('grpc-status');
  if (status !== '0') {
    const why = answer.trailers?.get('grpc-message') ?? answer.headers.get('grpc-message') ?? `HTTP ${answer.status}`;
    throw new MeshError('ERR_MALFORMED', `${method}: grpc-status ${status ?? 'missing'}: ${why}`);
  }
  const length = answer.body.length >= PREFIX_BYTES ? answer.body.readUInt32BE(1) : -1;
  // Nothing was offered to be compressed: a compressed answer is none.
  if (answer.body[0] !== 0 || answer.body.length !== PREFIX_BYTES + length) {
    throw new MeshError('ERR_MALFORMED', `${method}: the answer is not one plain message`);
  }
  return answer.body.subarray(PREFIX_BYTES);
}
