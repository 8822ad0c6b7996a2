/**
 * The seam between deciding and moving bytes. An engine accepts connections in pod namespaces, asks once per connection
 * what to do, opens the next hop, encrypts, frames, copies and counts. It knows neither services nor policies.
 *
 * Invariants every engine keeps (`test/engine/` states them as tests)
 *  - Nothing is sent to a next hop, and nothing is accepted from one, before the decision was given.
 *  - A peer whose certificate does not satisfy the decision's expectation never sees or delivers a byte.
 *  - Bytes arrive exact and in order both ways; half-close travels on its own; a reset is not an orderly end.
 *  - A reader that does not read stops its own connection only; what is buffered for it has a bound.
 *  - Every connection that was announced by `opened` ends in exactly one `closed`.
 *  - Decisions are plain data, so that an engine may live on other threads or in another language.
 */
import type { Duplex } from 'node:stream';
import type { Netns } from 'culvert-netns';
import type { IpPort } from '../model/address.ts';
import type { Identity } from '../model/identity.ts';
import type { RevocationLists } from '../pki/index.ts';

/** Number of a connection, unique for the life of the engine. */
export type ConnectionId = number;

/** Why a connection was refused or ended early; the words are the log's and the metrics' (`response_flags`). */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED';

/** A certificate with its key, and the roots that the peer of a connection is checked against. PEM text. */
export interface TlsCredentials {
  readonly identity: Identity;
  /** Differs for every certificate issued; engines key their TLS contexts by it. */
  readonly version: string;
  readonly privateKeyPem: string;
  /** Leaf first, then intermediates. */
  readonly certChainPem: string;
  readonly rootsPem: string;
}

/** What a listener serves. */
export type ListenerKind = 'outbound' | 'inbound-plaintext' | 'inbound-hbone';

export interface ListenerOptions {
  readonly kind: ListenerKind;
  /** The namespace to listen in; the process' own when absent. */
  readonly netns?: Netns;
  /** Handed back with every connection: tells the handlers which workload is meant. */
  readonly owner: string;
  /** `::` listens on both families. */
  readonly ip: string;
  readonly port: number;
  readonly mark?: number;
  /** SO_REUSEPORT, so that two tunnels can overlap during an upgrade. */
  readonly reusePort: boolean;
  /** IP_TRANSPARENT on the listener, so that connections to the application may carry the client's address. */
  readonly transparent: boolean;
}

export interface EngineListener extends AsyncDisposable {
  readonly port: number;
  /** Stops accepting; open connections go on. Idempotent. */
  close(): Promise<void>;
}

/** A captured connection that waits for its decision. */
export interface PlainConnection {
  readonly id: ConnectionId;
  readonly owner: string;
  readonly kind: 'outbound' | 'inbound-plaintext';
  /** The application's (outbound) or the client's (inbound) address. */
  readonly source: IpPort;
  /** Where the application wanted to go, before capture. */
  readonly originalDestination: IpPort;
}

/** One CONNECT stream on an inbound HBONE session. The peer's chain and trust domain have been verified. */
export interface HboneStream {
  readonly id: ConnectionId;
  readonly owner: string;
  readonly kind: 'inbound-hbone';
  readonly peerIdentity: Identity;
  /** TCP peer of the session. */
  readonly source: IpPort;
  /** Local address of the session: the pod's IP and 15008. */
  readonly localAddress: IpPort;
  readonly method: string;
  /** Raw `:authority`; empty when absent. */
  readonly authority: string;
  /** Lower-case names; repeated headers keep their lines. Only what the tunnel reads. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** False when both ends are on this node and joined without TLS (`ForwardLocal`). */
  readonly encrypted: boolean;
}

export interface Refusal {
  readonly action: 'refuse';
  /** For the log. */
  readonly reason: string;
  /** HTTP status for CONNECT streams; plain connections are closed. */
  readonly status: number;
}

/** Plain TCP to `to`. */
export interface ForwardPlain {
  readonly action: 'forward';
  readonly to: IpPort;
  /** Source address to show to the other end (IP_TRANSPARENT); absent: the kernel's choice. */
  readonly sourceIp?: string;
  /** Bytes written before the peer's (PROXY protocol). */
  readonly preamble?: Uint8Array;
  /** For CONNECT streams: headers of the 200 response. */
  readonly responseHeaders?: Readonly<Record<string, string>>;
}

/** Which peer an HBONE session may talk to, and on whose behalf. All of it is part of the pool's key. */
export interface HboneSessionKey {
  /** The local identity whose certificate is presented. */
  readonly identity: Identity;
  /** Accepted SPIFFE ids of the server; empty accepts nobody. */
  readonly expectedIdentities: readonly string[];
  readonly peer: IpPort;
  /** The application's IP: sessions of different pods are never shared. */
  readonly sourceIp: string;
}

export interface HboneConnect {
  /** `:authority` of the CONNECT. */
  readonly authority: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** One CONNECT stream on a pooled session. */
export interface ForwardHbone {
  readonly action: 'hbone';
  readonly session: HboneSessionKey;
  readonly connect: HboneConnect;
}

/** A second tunnel inside the first, for another network. The inner session is never pooled. */
export interface ForwardDoubleHbone {
  readonly action: 'double-hbone';
  readonly session: HboneSessionKey;
  readonly connect: HboneConnect;
  readonly innerExpectedIdentities: readonly string[];
  readonly innerConnect: HboneConnect;
}

/**
 * The other end is a pod of this engine: both are joined here, without TLS and HTTP/2. Everything else is as if an HBONE
 * session had been there: the certificates are held against expectations and revocation lists, the destination's side is
 * asked with the client's identity (`decideInboundHbone`), and each side is told of a connection of its own.
 */
export interface ForwardLocal {
  readonly action: 'local';
  /** Owner of the destination's listeners. */
  readonly to: string;
  /** The session that would have been; its peer is the address of the destination that the client's side dials. */
  readonly session: HboneSessionKey;
  readonly connect: HboneConnect;
}

export type OutboundDecision = Refusal | ForwardPlain | ForwardHbone | ForwardDoubleHbone | ForwardLocal;
export type InboundDecision = Refusal | ForwardPlain;

/** The stream is answered 200 and handed over as bytes, by `terminated`: what is in it is for us. */
export interface Terminate {
  readonly action: 'terminate';
}

export type InboundHboneDecision = InboundDecision | Terminate;

/** A tunnel to be opened on our own account, from the namespace and the pool of `owner`. */
export type OriginateRequest = Pick<ForwardHbone, 'session' | 'connect'> & { readonly owner: string };

/**
 * Stand in a reusable decision's header values for what differs from connection to connection: the client's `ip:port`,
 * and the two numbers of a new trace.
 */
export const PER_CONNECTION = { source: '\u0001', traceId: '\u0002', spanId: '\u0003' } as const;

/** One of the answers that a connection may get without being asked about. */
export interface DecisionCandidate {
  /** Above 0. Connections draw in proportion. */
  readonly weight: number;
  readonly decision: ForwardPlain | ForwardHbone;
  /** Handed back by `reused`; the engine does not look into it. */
  readonly token: unknown;
}

/**
 * An answer that holds until the engine is told to forget. A PlainConnection's holds for every connection with its owner,
 * kind, source IP and original destination; an HboneStream's, which has one candidate, for every CONNECT of its session
 * with its authority.
 */
export interface ReusableDecision {
  readonly candidates: readonly DecisionCandidate[];
}

export interface ConnectionOutcome {
  /** Bytes from the client to the server. */
  readonly bytesReceived: number;
  /** Bytes from the server to the client. */
  readonly bytesSent: number;
  readonly durationMs: number;
  readonly flag: ResponseFlag;
  /** Absent when the connection ended in order. */
  readonly error?: string;
  /** Headers of the CONNECT's 200 response (double HBONE reads `baggage`). */
  readonly responseHeaders?: Readonly<Record<string, string>>;
}

/** A connection or session that failed before there was anything to decide. */
export interface HandshakeFailure {
  readonly owner: string;
  readonly kind: ListenerKind;
  readonly source: IpPort;
  readonly flag: ResponseFlag;
  readonly error: string;
}

/** What an engine asks and tells. The handlers never throw for an expected "no": that is a Refusal. */
export interface EngineHandlers {
  decideOutbound(connection: PlainConnection, signal: AbortSignal): Promise<OutboundDecision>;
  decideInboundPlain(connection: PlainConnection, signal: AbortSignal): Promise<InboundDecision>;
  decideInboundHbone(stream: HboneStream, signal: AbortSignal): Promise<InboundHboneDecision>;
  /** A stream that was to be terminated. The receiver owns `bytes`; its close ends the connection. */
  terminated?(id: ConnectionId, bytes: Duplex): void;
  /** Identity that an `inbound-hbone` listener's owner presents. Rejects when the workload is unknown. */
  serverIdentity(owner: string, signal: AbortSignal): Promise<Identity>;
  /**
   * Whether the answer that this accepted connection got may be given again; undefined: each is to be asked about. An
   * engine need not ask for it, and need not make use of it.
   */
  reusable?(connection: PlainConnection | HboneStream): ReusableDecision | undefined;
  /**
   * A connection took a reusable answer. Told in place of asking, some milliseconds late at most, before anything else of
   * the connection. `isCurrent` is false when answers have been forgotten since it was taken: the connection has to be
   * judged again. A text ends the connection now, with flag DENY.
   */
  reused?(connection: PlainConnection | HboneStream, token: unknown, isCurrent: boolean): string | undefined;
  /** A currently valid certificate for a local identity. Rejects with ERR_IDENTITY. */
  credentials(identity: Identity, signal: AbortSignal): Promise<TlsCredentials>;
  /** The engine starts to dial the next hop of a decision that was not a refusal. */
  opened(id: ConnectionId): void;
  /** A tunnel's far end has answered 200 with these headers: bytes begin to move. Not told of plain connections. */
  established?(id: ConnectionId, responseHeaders: Readonly<Record<string, string>>): void;
  /** Bytes moved since the last report for this connection; at most once a second per connection. */
  progress(id: ConnectionId, bytesReceived: number, bytesSent: number): void;
  /** The one end of a connection that was decided upon, refusals included. `outcome` counts the whole connection. */
  closed(id: ConnectionId, outcome: ConnectionOutcome): void;
  handshakeFailed(failure: HandshakeFailure): void;
  /** A revocation list refused a session's peer: a client (`inbound-hbone`) or the server of a dial (`outbound`). */
  peerRevoked?(kind: ListenerKind): void;
  /** Accepted sockets now open (+1, -1), for `istio_tcp_sockets_open`. */
  socketsOpen(kind: ListenerKind, delta: 1 | -1): void;
}

/** How sockets are made; owned by the engine's caller. Defaults are in `hbone.md` terms: see each field. */
export interface EngineOptions {
  /** 100: streams per pooled session. */
  readonly maxStreamsPerSession: number;
  /** 300 000: an idle session is closed after this. */
  readonly poolIdleTimeoutMs: number;
  /** 10 000 */
  readonly connectTimeoutMs: number;
  /** 4 MiB */
  readonly streamWindowBytes: number;
  /** 16 MiB */
  readonly connectionWindowBytes: number;
  /** 1 MiB */
  readonly frameSizeBytes: number;
  /** Mark of every socket made in a pod's namespace. */
  readonly mark?: number;
  /** Mark of a socket that shows a foreign source address. */
  readonly sourcePreservingMark?: number;
  readonly keepalive: { readonly timeMs: number; readonly intervalMs: number; readonly retries: number } | undefined;
  readonly userTimeout: boolean;
  /** The revocation lists in force; none when absent. */
  readonly revocations?: () => RevocationLists;
}

export interface EngineStats {
  readonly connections: number;
  readonly sessions: number;
  readonly bufferedBytes: number;
}

export type EngineName = 'native' | 'typescript';

export interface Engine extends AsyncDisposable {
  readonly name: EngineName;
  /** Listens; rejects with ERR_SYSTEM (port taken, namespace gone). */
  listen(options: ListenerOptions): Promise<EngineListener>;
  /**
   * Opens one CONNECT stream on a pooled session; the caller owns it. Absent in engines that cannot. Rejects as a dial
   * does (ERR_DIAL, ERR_HBONE_STATUS, ERR_TLS, ERR_PEER_IDENTITY, ...). An owner
   * that does not listen has a pool too: drain it after those whose connections need it.
   */
  originate?(request: OriginateRequest, signal: AbortSignal): Promise<Duplex>;
  /** Ends one connection now; its `closed` has this flag and error. Unknown ids are ignored. */
  cut(id: ConnectionId, flag: ResponseFlag, error: string): void;
  /** What decisions rest upon has changed: none that was given before is given again. */
  forgetDecisions(): void;
  /** Forgets the TLS contexts of an identity whose certificate was replaced; open sessions go on. */
  credentialsChanged(identity: Identity): void;
  /** Holds every session's peer against the revocation lists in force; ends those that are revoked with CERT_REVOKED. */
  recheckPeers(): void;
  /**
   * Closes one owner's listeners and tells the peers of its sessions to go elsewhere (GOAWAY). What was accepted before is
   * served to its end, at most until `deadlineMs`. Resolves when the last connection has ended.
   */
  drain(owner: string, deadlineMs: number): Promise<void>;
  /** The same for every owner. Nothing can listen any more. */
  drainAll(deadlineMs: number): Promise<void>;
  stats(): EngineStats;
}
