/**
 * Listens for HBONE sessions of one pod. A session's peer is verified before any of its streams is looked at: the chain
 * by OpenSSL, then the identity and the revocation lists here.
 */
import { performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { AcceptedSocket } from 'culvert-netns';
import {
  checkClient,
  checkRevocation,
  contextOptions,
  FLOOD_GUARDS,
  HBONE_ALPN,
  presentedChain,
  type RevocationCheck,
  serverSettings,
  watchLiveness,
} from '../../hbone/index.ts';
import type { Identity } from '../../model/identity.ts';
import { canonicalIp } from '../../model/ip.ts';
import { readHeaders } from '../connect-headers.ts';
import type { ConnectionSet } from '../connection-set.ts';
import { REVOKED, toFailure } from '../failure.ts';
import { type ListeningScope, openListener } from '../listener.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type { ConnectionId, EngineListener, EngineOptions, ListenerOptions, TlsCredentials } from '../port.ts';
import type { SessionSet } from '../session-set.ts';
import { isHangup } from '../system-error.ts';
import { Connection } from './connection.ts';
import { type StreamDeps, serveStream } from './hbone-stream.ts';
import { TcpSocket } from './tcp-socket.ts';

export interface HboneListenerDeps extends StreamDeps {
  readonly options: EngineOptions;
  readonly connections: ConnectionSet<Connection>;
  readonly nextId: () => ConnectionId;
  readonly sessions: SessionSet;
  readonly peers: PeerWatch;
}

export function listenHbone(deps: HboneListenerDeps, scope: ListeningScope, options: ListenerOptions): EngineListener {
  const acceptor = new HboneAcceptor(deps, scope);
  return openListener(scope, options, (accepted) => acceptor.accept(accepted));
}

class HboneAcceptor {
  readonly #deps: HboneListenerDeps;
  readonly #scope: ListeningScope;
  /** Terminates TLS with the certificate of that version; replaced when the certificate is. */
  #server: { readonly version: string; readonly server: Server } | undefined;

  constructor(deps: HboneListenerDeps, scope: ListeningScope) {
    this.#deps = deps;
    this.#scope = scope;
  }

  accept(accepted: AcceptedSocket): void {
    const { handlers } = this.#deps;
    const socket = new TcpSocket(accepted.fd);
    socket.allowHalfOpen = false; // an HTTP/2 connection has no half: a peer's FIN ends it, its streams included
    handlers.socketsOpen('inbound-hbone', 1);
    socket.once('close', () => handlers.socketsOpen('inbound-hbone', -1));
    socket.on('error', () => {});
    void this.#handshake(socket, accepted);
  }

  async #handshake(socket: Socket, accepted: AcceptedSocket): Promise<void> {
    const { handlers, options } = this.#deps;
    try {
      const signal = AbortSignal.timeout(options.connectTimeoutMs);
      const identity = await handlers.serverIdentity(this.#scope.name, signal);
      const credentials = await handlers.credentials(identity, signal);
      const server = this.#serverFor(credentials);
      server.emit('connection', socket);
    } catch (error) {
      this.#failed(accepted, error);
      socket.destroy();
    }
  }

  #serverFor(credentials: TlsCredentials): Server {
    if (this.#server?.version === credentials.version) return this.#server.server;
    const { options } = this.#deps;
    const server = createServer({
      ...contextOptions(credentials),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [HBONE_ALPN],
      handshakeTimeout: options.connectTimeoutMs,
    });
    server.on('secureConnection', (socket) => this.#onSecure(socket, credentials));
    server.on('tlsClientError', (error, socket) => {
      this.#failed(socketAddresses(socket), new Error(`tls error: ${error.message}`));
      socket.destroy();
    });
    this.#server = { version: credentials.version, server };
    return server;
  }

  /** The chain has been verified. HTTP/2 begins, and the first of its bytes is read, when the peer is who it may be. */
  #onSecure(socket: TLSSocket, credentials: TlsCredentials): void {
    const { peers } = this.#deps;
    socket.on('error', () => {});
    const accepted = socketAddresses(socket);
    try {
      const chain = presentedChain(socket);
      const peerIdentity = checkClient(chain[0] ?? new Uint8Array(), credentials.identity.trustDomain);
      const check = { chain, rootsPem: credentials.rootsPem, peerIs: 'client', atMs: Date.now() } as const;
      checkRevocation(check, peers.revocations());
      this.#serve(socket, { accepted, peerIdentity, check });
    } catch (error) {
      this.#failed(accepted, error);
      socket.destroy();
    }
  }

  #serve(
    socket: TLSSocket,
    {
      accepted,
      peerIdentity,
      check,
    }: {
      readonly accepted: Pick<AcceptedSocket, 'remote' | 'local'>;
      readonly peerIdentity: Identity;
      readonly check: RevocationCheck;
    },
  ): void {
    const { options, sessions, peers } = this.#deps;
    const session = performServerHandshake(socket, { settings: serverSettings(options), ...FLOOD_GUARDS });
    const open = sessions.add(this.#scope.name, session);
    session.on('error', (error) => {
      if (!isHangup(error)) this.#failed(accepted, new Error(`h2 failed: ${error.message}`));
    });
    peers.watch(session, check, () => open.cut(REVOKED.flag, REVOKED.error));
    if (this.#scope.isLeaving) session.once('remoteSettings', () => session.close()); // accepted just before the listener closed
    session.setLocalWindowSize(options.connectionWindowBytes);
    watchLiveness(session);
    session.on('stream', (stream, headers, _flags, rawHeaders) => {
      this.#onStream(stream, { headers, rawHeaders, accepted, peerIdentity, connectionIds: open.connections });
    });
  }

  #onStream(
    stream: ServerHttp2Stream,
    {
      headers,
      rawHeaders,
      accepted,
      peerIdentity,
      connectionIds,
    }: {
      readonly headers: Readonly<Record<string, unknown>>;
      readonly rawHeaders: readonly string[];
      readonly accepted: Pick<AcceptedSocket, 'remote' | 'local'>;
      readonly peerIdentity: Identity;
      readonly connectionIds: Set<number>;
    },
  ): void {
    const connection = new Connection(this.#deps.nextId(), this.#scope.name, this.#deps.handlers);
    void this.#deps.connections.run(connection, async () => {
      connectionIds.add(connection.id);
      await serveStream(this.#deps, this.#scope, {
        connection,
        stream,
        facts: {
          id: connection.id,
          owner: this.#scope.name,
          kind: 'inbound-hbone',
          peerIdentity,
          source: accepted.remote,
          localAddress: accepted.local,
          method: String(headers[':method'] ?? ''),
          authority: String(headers[':authority'] ?? ''),
          headers: readHeaders(rawHeaders),
          encrypted: true,
        },
      });
      connectionIds.delete(connection.id);
    });
  }

  #failed({ remote }: Pick<AcceptedSocket, 'remote'>, error: unknown): void {
    const { flag, error: text } = toFailure(error);
    if (flag === 'CERT_REVOKED') this.#deps.handlers.peerRevoked?.('inbound-hbone');
    const failure = { owner: this.#scope.name, kind: 'inbound-hbone', source: remote } as const;
    const words = error instanceof Error ? error.message : text;
    if (words.startsWith('tls error: '))
      this.#deps.handlers.handshakeFailed({ ...failure, flag: 'TLS_FAILURE', error: words });
    else if (words.startsWith('h2 failed: '))
      this.#deps.handlers.handshakeFailed({ ...failure, flag: 'H2_HANDSHAKE_FAILURE', error: words });
    else this.#deps.handlers.handshakeFailed({ ...failure, flag, error: text });
  }
}

/** A TLS socket shows the addresses of the connection below it. */
function socketAddresses(socket: TLSSocket): Pick<AcceptedSocket, 'remote' | 'local'> {
  return {
    remote: { ip: canonicalIp(socket.remoteAddress ?? '') ?? '', port: socket.remotePort ?? 0 },
    local: { ip: canonicalIp(socket.localAddress ?? '') ?? '', port: socket.localPort ?? 0 },
  };
}
