/**
 * What happens in a terminated tunnel: the protocol is found out where the port does not say it, then one of the shells or
 * the TCP proxy takes the bytes.
 */
import type { Duplex } from 'node:stream';
import type { HttpService } from '../http-service.ts';
import type { RouterDeps } from '../router.ts';
import type { CompiledPort } from '../state/compiled-service.ts';
import { readClientHello } from './client-hello.ts';
import { Http1Shell } from './http1-shell.ts';
import { Http2Shell } from './http2-shell.ts';
import { type Detected, SERVER_FIRST_MS, sniff } from './protocol-detector.ts';
import { type ConnectionEnd, proxyTcp } from './tcp-proxy.ts';
import type { TunnelContext } from './tunnel-context.ts';

export interface TunnelServerDeps {
  readonly http: HttpService;
  readonly router: RouterDeps;
  readonly findPort: (context: TunnelContext) => CompiledPort | undefined;
  readonly telemetry: {
    tcpOpened(context: TunnelContext, port: CompiledPort): void;
    tcpClosed(context: TunnelContext, port: CompiledPort, end: ConnectionEnd): void;
    malformed(context: TunnelContext | undefined, code: string): void;
  };
}

/** On a port that is HTTP by declaration a client may be slow to speak. */
const HTTP_SILENCE_MS = 60_000;
const HELLO_TIMEOUT_MS = 10_000;

export class TunnelServer {
  readonly #deps: TunnelServerDeps;
  readonly #http1: Http1Shell;
  readonly #http2: Http2Shell;

  constructor(deps: TunnelServerDeps) {
    this.#deps = deps;
    const { http, telemetry } = deps;
    this.#http1 = new Http1Shell((...request) => http.serve(...request), telemetry.malformed);
    this.#http2 = new Http2Shell((...request) => http.serve(...request), telemetry.malformed);
  }

  /** Owns the stream. Never rejects. */
  async serve(stream: Duplex, context: TunnelContext): Promise<void> {
    stream.on('error', () => {}); // seen by its close
    const port = this.#deps.findPort(context);
    if (!port) return void stream.destroy();
    const { protocol } = port.port;
    if (protocol === 'TCP') return this.#proxy(stream, { context, port, serverName: undefined });
    if (protocol === 'TLS') return this.#proxyTls(stream, { context, port });
    const isHttp = protocol !== 'UNKNOWN';
    const detected = await sniff(stream, isHttp ? HTTP_SILENCE_MS : SERVER_FIRST_MS);
    this.#dispatch(stream, detected, { context, port, isHttp });
  }

  /** Clients are asked to leave: what is under way goes on. */
  drain(): void {
    this.#http1.drain();
    this.#http2.drain();
  }

  close(): void {
    this.#http1.close();
    this.#http2.close();
  }

  #dispatch(
    stream: Duplex,
    detected: Detected,
    given: { readonly context: TunnelContext; readonly port: CompiledPort; readonly isHttp: boolean },
  ): void {
    const { context, port, isHttp } = given;
    if (detected === 'HTTP2') {
      this.#http2.accept(stream, context);
      return;
    }
    if (detected === 'HTTP1' || isHttp) {
      this.#http1.accept(stream, context);
      return;
    }
    if (detected === 'TLS') return void this.#proxyTls(stream, { context, port });
    void this.#proxy(stream, { context, port, serverName: undefined });
  }

  async #proxyTls(stream: Duplex, given: { readonly context: TunnelContext; readonly port: CompiledPort }) {
    const isRouted = given.port.port.l4Routes.some(({ sniHosts }) => sniHosts.length > 0);
    const serverName = isRouted ? await peekServerName(stream) : undefined;
    await this.#proxy(stream, { ...given, serverName });
  }

  async #proxy(stream: Duplex, request: Parameters<typeof proxyTcp>[1]): Promise<void> {
    const { telemetry, router } = this.#deps;
    telemetry.tcpOpened(request.context, request.port);
    const end = await proxyTcp(stream, request, router);
    telemetry.tcpClosed(request.context, request.port, end);
  }
}

/** Reads the ClientHello and puts it back. */
function peekServerName(stream: Duplex): Promise<string | undefined> {
  return new Promise((resolve) => {
    let head: Buffer = Buffer.alloc(0);
    const settle = (serverName: string | undefined): void => {
      clearTimeout(timer);
      stream.off('readable', onReadable);
      stream.off('close', onEnd);
      stream.off('end', onEnd);
      if (head.length > 0) stream.unshift(head);
      resolve(serverName);
    };
    const onEnd = (): void => settle(undefined);
    const onReadable = (): void => {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) return;
      head = Buffer.concat([head, chunk]);
      const hello = readClientHello(head);
      if (hello.kind === 'READ') settle(hello.serverName);
    };
    const timer = setTimeout(onEnd, HELLO_TIMEOUT_MS);
    stream.on('readable', onReadable);
    stream.once('close', onEnd);
    stream.once('end', onEnd);
  });
}
