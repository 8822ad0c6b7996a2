/**
 * Listens for HBONE sessions of one pod. A session's peer is verified before any of its streams is looked at: the chain
 * by OpenSSL, then the identity and the revocation lists here.
 */
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AcceptedSocket } from 'culvert-netns';
import {
  checkClient,
  checkRevocation,
  contextOptions,
  HBONE_ALPN,
  presentedChain,
  RESET_FLOOD_GUARD,
  SESSION_MEMORY_MB,
  serverSettings,
  watchLiveness,
} from '../../hbone/index.ts';
import type { Identity } from '../../model/identity.ts';
import { canonicalIp } from '../../model/ip.ts';
import type { EngineListener, EngineOptions, ListenerOptions, TlsCredentials } from '../port.ts';
import type { ConnectionSet } from './connection-set.ts';
import { toFailure } from './failure.ts';
import { readHeaders, type StreamDeps, serveStream } from './hbone-stream.ts';
import type { OwnerScope } from './owner-scope.ts';
import type { PeerWatch } from './peer-watch.ts';
import { openListener, toEngineListener } from './plain-listener.ts';
import type { SessionSet } from './session-set.ts';
import { TcpSocket } from './tcp-socket.ts';

export interface HboneListenerDeps extends StreamDeps {
  readonly options: EngineOptions;
  readonly connections: ConnectionSet;
  readonly sessions: SessionSet;
  readonly peers: PeerWatch;
}

export function listenHbone(deps: HboneListenerDeps, scope: OwnerScope, options: ListenerOptions): EngineListener {
  const acceptor = new HboneAcceptor(deps, scope);
  return toEngineListener(
    scope,
    openListener(scope.netns, options, (accepted) => acceptor.accept(accepted)),
  );
}

class HboneAcceptor {
  readonly #deps: HboneListenerDeps;
  readonly #scope: OwnerScope;
  /** Terminates TLS with the certificate of that version; replaced when the certificate is. */
  #server: { readonly version: string; readonly server: Http2SecureServer } | undefined;

  constructor(deps: HboneListenerDeps, scope: OwnerScope) {
    this.#deps = deps;
    this.#scope = scope;
  }

  accept(accepted: AcceptedSocket): void {
    const { handlers } = this.#deps;
    const socket = new TcpSocket(accepted.fd);
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

  #serverFor(credentials: TlsCredentials): Http2SecureServer {
    if (this.#server?.version === credentials.version) return this.#server.server;
    const { options } = this.#deps;
    const server = createSecureServer({
      ...contextOptions(credentials),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [HBONE_ALPN],
      handshakeTimeout: options.connectTimeoutMs,
      settings: serverSettings(options),
      maxSessionMemory: SESSION_MEMORY_MB,
      ...RESET_FLOOD_GUARD,
    });
    server.on('session', (session) => this.#onSession(session, credentials));
    server.on('tlsClientError', (error, socket) => {
      this.#failed(socketAddresses(socket), Object.assign(new Error(`tls error: ${error.message}`)));
      socket.destroy();
    });
    server.on('unknownProtocol', (socket) => socket.destroy());
    server.on('sessionError', () => {});
    this.#server = { version: credentials.version, server };
    return server;
  }

  #onSession(session: ServerHttp2Session, credentials: TlsCredentials): void {
    const { options, sessions, peers } = this.#deps;
    // the socket that HTTP/2 hands out forbids what could disturb it; reading addresses and certificates is fine
    const socket = session.socket as TLSSocket;
    const accepted = socketAddresses(socket);
    try {
      const chain = presentedChain(socket);
      const peerIdentity = checkClient(chain[0] ?? new Uint8Array(), credentials.identity.trustDomain);
      const check = { chain, rootsPem: credentials.rootsPem, peerIs: 'client', atMs: Date.now() } as const;
      checkRevocation(check, peers.revocations());
      const open = sessions.add(this.#scope.name, session);
      peers.watch(session, check, () => open.cut('CERT_REVOKED', 'connection closed: peer certificate revoked by CRL'));
      session.setLocalWindowSize(options.connectionWindowBytes);
      watchLiveness(session);
      session.on('stream', (stream, headers, _flags, rawHeaders) => {
        this.#onStream(stream, { headers, rawHeaders, accepted, peerIdentity, connectionIds: open.connections });
      });
    } catch (error) {
      this.#failed(accepted, error);
      session.destroy();
    }
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
    void this.#deps.connections.run(this.#scope.name, async (connection) => {
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
        },
      });
      connectionIds.delete(connection.id);
    });
  }

  #failed({ remote }: Pick<AcceptedSocket, 'remote'>, error: unknown): void {
    const failure = toFailure(error);
    const isTls = error instanceof Error && error.message.startsWith('tls error: ');
    this.#deps.handlers.handshakeFailed({
      owner: this.#scope.name,
      kind: 'inbound-hbone',
      source: remote,
      flag: isTls ? 'TLS_FAILURE' : failure.flag,
      error: isTls ? error.message : failure.error,
    });
  }
}

/** A TLS socket shows the addresses of the connection below it. */
function socketAddresses(socket: TLSSocket): Pick<AcceptedSocket, 'remote' | 'local'> {
  return {
    remote: { ip: canonicalIp(socket.remoteAddress ?? '') ?? '', port: socket.remotePort ?? 0 },
    local: { ip: canonicalIp(socket.localAddress ?? '') ?? '', port: socket.localPort ?? 0 },
  };
}
