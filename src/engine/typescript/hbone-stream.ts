/** Serves one CONNECT stream of a verified peer: asks, dials the application, answers, joins. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Dialer } from '../dialer.ts';
import { toFailure } from '../failure.ts';
import type { ListeningScope } from '../listener.ts';
import type { EngineHandlers, ForwardPlain, HboneStream } from '../port.ts';
import type { Connection } from './connection.ts';
import { join } from './join.ts';
import { finish } from './plain-connection.ts';
import { TcpSocket } from './tcp-socket.ts';
import { TunnelDuplex } from './tunnel-duplex.ts';

/** The application could not be reached. */
const UNAVAILABLE = 503;

export interface StreamDeps {
  readonly handlers: EngineHandlers;
  readonly dialer: Dialer;
}

/** Takes ownership of `stream`. Never rejects. */
export async function serveStream(
  deps: StreamDeps,
  scope: ListeningScope,
  {
    connection,
    stream,
    facts,
  }: { readonly connection: Connection; readonly stream: ServerHttp2Stream; readonly facts: HboneStream },
): Promise<void> {
  stream.on('error', () => {});
  stream.once('close', () => connection.abort());
  connection.own(stream);
  try {
    const decision = await deps.handlers.decideInboundHbone(facts, connection.signal);
    if (decision.action === 'refuse') {
      answer(stream, decision.status);
      connection.end('-', decision.reason);
      return;
    }
    connection.opened();
    if (decision.action === 'terminate') {
      await terminate(deps, { connection, stream });
      return;
    }
    await forward(deps, scope, { connection, stream, decision });
  } catch (error) {
    answer(stream, UNAVAILABLE);
    const { flag, error: text } = toFailure(error);
    connection.end(flag, text);
  }
}

/** The one who decided takes the bytes; the connection ends with the stream. */
function terminate(
  { handlers }: StreamDeps,
  { connection, stream }: { readonly connection: Connection; readonly stream: ServerHttp2Stream },
): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      connection.end('-');
      resolve();
    };
    if (stream.destroyed) return end();
    stream.once('close', end);
    stream.respond({ ':status': 200 }, { sendDate: false } as object);
    handlers.terminated?.(connection.id, new TunnelDuplex(stream));
  });
}

async function forward(
  { dialer }: StreamDeps,
  { netns }: ListeningScope,
  {
    connection,
    stream,
    decision,
  }: { readonly connection: Connection; readonly stream: ServerHttp2Stream; readonly decision: ForwardPlain },
): Promise<void> {
  const application = new TcpSocket(await dialer.dial(netns, decision, connection.signal));
  connection.own(application);
  connection.count(application, 'writes', decision.preamble?.length ?? 0);
  if (decision.preamble) application.write(decision.preamble);
  if (!stream.destroyed) stream.respond({ ...decision.responseHeaders, ':status': 200 }, { sendDate: false } as object);
  finish(connection, await join(application, stream));
}

/** Answers without a body and ends the stream. */
function answer(stream: ServerHttp2Stream, status: number): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_CANCEL);
    return;
  }
  stream.respond({ ':status': status }, { endStream: true });
  // the client may go on sending: what it sends is thrown away, and credited
  stream.resume();
}
