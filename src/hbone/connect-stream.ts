/** Opens one CONNECT stream on a client session. Source: RFC 9113 section 8.5. */

import { STATUS_CODES } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { errorMessage, MeshError } from '../core/errors.ts';

export interface ConnectRequest {
  readonly authority: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ConnectedStream {
  readonly stream: ClientHttp2Stream;
  readonly headers: Readonly<Record<string, string>>;
}

/** The stream was never taken up by the peer: another session may be tried without harm. */
export class StreamRefusedError extends MeshError {
  constructor(cause: unknown) {
    super('ERR_HTTP2', `h2 failed: ${errorMessage(cause)}`, { cause });
  }
}

/**
 * Resolves when the peer has answered 200; the caller owns the stream. Rejects with ERR_HBONE_STATUS for another answer,
 * with a StreamRefusedError when the session ended before there was any, with ERR_HBONE_DIAL after `timeoutMs`.
 */
export function openConnectStream(
  session: ClientHttp2Session,
  request: ConnectRequest,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<ConnectedStream> {
  return new Promise((resolve, reject) => {
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(
        { ...request.headers, ':method': 'CONNECT', ':authority': request.authority },
        { endStream: false },
      );
    } catch (error) {
      reject(new StreamRefusedError(error));
      return;
    }
    const settle = (error?: Error) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stream.off('close', onClose);
      if (!error) return;
      stream.close(constants.NGHTTP2_CANCEL);
      reject(error);
    };
    const onAbort = () => settle(new MeshError('ERR_ABORTED', 'the application closed the connection'));
    const onClose = () => settle(new StreamRefusedError(lastError ?? new Error('the session closed')));
    const timer = setTimeout(
      () => settle(new MeshError('ERR_HBONE_DIAL', `no answer to CONNECT in ${timeoutMs} ms`)),
      timeoutMs,
    );
    let lastError: Error | undefined;
    // stays: an 'error' after the answer is seen by the stream's close
    stream.on('error', (error: Error) => {
      lastError = error;
    });
    stream.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    stream.once('response', (headers) => {
      const status = Number(headers[':status']);
      if (status !== 200) {
        settle(new MeshError('ERR_HBONE_STATUS', `http status: ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd()));
        return;
      }
      settle();
      const plain: Record<string, string> = {};
      for (const [name, value] of Object.entries(headers)) if (typeof value === 'string') plain[name] = value;
      resolve({ stream, headers: plain });
    });
    if (signal.aborted) onAbort();
  });
}
