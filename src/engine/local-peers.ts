/**
 * What an HBONE handshake proves of both its ends, proved of two pods of one node: each has a valid certificate, the
 * server is one that the client expects, the client is of the server's trust domain, and neither is revoked.
 */
import { X509Certificate } from 'node:crypto';
import { errorMessage, MeshError } from '../core/errors.ts';
import { checkClient, checkRevocation, checkServer, type RevocationCheck } from '../hbone/index.ts';
import type { IpPort } from '../model/address.ts';
import { PeerRevokedError } from '../pki/index.ts';
import { readHeaders } from './connect-headers.ts';
import { REVOKED, toFailure } from './failure.ts';
import type { PeerWatch } from './peer-watch.ts';
import type {
  ConnectionId,
  EngineHandlers,
  ForwardLocal,
  HboneStream,
  ListenerKind,
  PlainConnection,
  ResponseFlag,
  TlsCredentials,
} from './port.ts';

export interface LocalPeersDeps {
  readonly handlers: Pick<EngineHandlers, 'credentials' | 'serverIdentity' | 'peerRevoked' | 'handshakeFailed'>;
  readonly peers: PeerWatch;
}

interface CutConnection {
  cut(flag: ResponseFlag, error: string): void;
}

export class LocalPeers {
  readonly #deps: LocalPeersDeps;

  constructor(deps: LocalPeersDeps) {
    this.#deps = deps;
  }

  /**
   * Rejects as the dial of a session would: ERR_IDENTITY, ERR_PEER_IDENTITY, PeerRevokedError. What the server's side
   * refuses is told as a failed handshake there, too.
   * @param source of the client's connection
   */
  async verify(
    { session, to }: ForwardLocal,
    { source, signal }: { readonly source: IpPort; readonly signal: AbortSignal },
  ): Promise<readonly RevocationCheck[]> {
    const { handlers } = this.#deps;
    const [client, server] = await Promise.all([
      this.#credentials(() => handlers.credentials(session.identity, signal)),
      this.#credentials(async () => handlers.credentials(await handlers.serverIdentity(to, signal), signal)),
    ]);
    const [clientChain, serverChain] = [chainOf(client), chainOf(server)];
    const atMs = Date.now();
    const ofServer = { chain: serverChain, rootsPem: client.rootsPem, peerIs: 'server', atMs } as const;
    const ofClient = { chain: clientChain, rootsPem: server.rootsPem, peerIs: 'client', atMs } as const;
    checkServer(serverChain[0] ?? new Uint8Array(), session.expectedIdentities);
    this.#checkRevocation(ofServer, 'outbound');
    try {
      checkClient(clientChain[0] ?? new Uint8Array(), server.identity.trustDomain);
      this.#checkRevocation(ofClient, 'inbound-hbone');
    } catch (error) {
      handlers.handshakeFailed({ owner: to, kind: 'inbound-hbone', source, ...toFailure(error) });
      throw error;
    }
    return [ofServer, ofClient];
  }

  /** Cuts both ends when one of them is revoked, until the returned function is called. */
  watch(checks: readonly RevocationCheck[], ends: readonly CutConnection[]): () => void {
    const onClose: (() => void)[] = [];
    const bond = {
      destroyed: false,
      once: (_event: 'close', listener: () => void) => onClose.push(listener),
      destroy: () => {},
    };
    const revoked = (): void => {
      for (const end of ends) end.cut(REVOKED.flag, REVOKED.error);
    };
    for (const check of checks) this.#deps.peers.watch({ ...bond }, check, revoked);
    return () => {
      for (const listener of onClose) listener();
    };
  }

  #checkRevocation(check: RevocationCheck, by: ListenerKind): void {
    const { handlers, peers } = this.#deps;
    try {
      checkRevocation(check, peers.revocations());
    } catch (error) {
      if (error instanceof PeerRevokedError) handlers.peerRevoked?.(by);
      throw error;
    }
  }

  async #credentials(get: () => Promise<TlsCredentials>): Promise<TlsCredentials> {
    try {
      return await get();
    } catch (error) {
      throw error instanceof MeshError ? error : new MeshError('ERR_IDENTITY', errorMessage(error), { cause: error });
    }
  }
}

/** The connection as the destination's side is asked about it. */
export function localStream(
  id: ConnectionId,
  { to, session, connect }: ForwardLocal,
  { source }: Pick<PlainConnection, 'source'>,
): HboneStream {
  const client: IpPort = { ip: session.sourceIp, port: source.port };
  return {
    id,
    owner: to,
    kind: 'inbound-hbone',
    peerIdentity: session.identity,
    source: client,
    localAddress: session.peer,
    method: 'CONNECT',
    authority: connect.authority,
    headers: readHeaders(Object.entries(connect.headers).flat()),
    encrypted: false,
  };
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Parsed once per certificate: those of one node are few, and go with their credentials. */
const chains = new WeakMap<TlsCredentials, readonly Uint8Array[]>();

function chainOf(credentials: TlsCredentials): readonly Uint8Array[] {
  const known = chains.get(credentials);
  if (known) return known;
  const chain = (credentials.certChainPem.match(PEM) ?? []).map((pem) => new X509Certificate(pem).raw);
  chains.set(credentials, chain);
  return chain;
}
