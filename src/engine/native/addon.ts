/**
 * The functions of `native/engine` as TypeScript sees them. They only post orders to the engine's threads; what came of
 * them is told by events, in batches. Only this file loads the binary.
 */
import { createRequire } from 'node:module';
import { errorMessage, MeshError } from '../../core/errors.ts';

/** Opaque: objects that only the add-on can read. */
export interface EngineHandle {
  readonly engineHandle: unique symbol;
}
export interface TlsContextHandle {
  readonly tlsContextHandle: unique symbol;
}
export interface OwnerHandle {
  readonly ownerHandle: unique symbol;
}

/** Numbers are shared with native/engine/addon/event.h. */
export const EVENT = {
  handshake: 0,
  sessionClosed: 1,
  settings: 2,
  accepted: 3,
  stream: 4,
  established: 5,
  sessionWanted: 6,
  ended: 7,
  progress: 8,
  listenerClosed: 9,
  reused: 10,
  forgotten: 11,
} as const;

export const CLOSE_CAUSE = { ended: 0, tls: 1, http2: 2, dial: 3, draining: 4 } as const;

export const END_CAUSE = {
  order: 0,
  system: 1,
  status: 2,
  aborted: 3,
  noAnswer: 4,
  refused: 5,
  dial: 6,
  session: 7,
} as const;

/** Numbers are shared with native/engine/addon/listener.h. */
export const LISTENER_KIND = { outbound: 0, 'inbound-plaintext': 1, 'inbound-hbone': 2 } as const;

/** See event.h for what each kind fills. `list` holds Buffers for `handshake`, text otherwise. */
export type NativeEvent = readonly [
  kind: number,
  id: number,
  thread: number,
  session: number,
  a: number,
  b: number,
  n: number,
  us: number,
  cause: number,
  text: string,
  list: readonly (string | Buffer)[],
];

/** Header names and values in turn. */
export type FlatHeaders = readonly string[];

/** Absent means none, or the system's. */
export interface NativeOptions {
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly frameSize: number;
  readonly streamsPerSession: number;
  readonly poolIdleMs: number;
  readonly connectTimeoutMs: number;
  readonly mark?: number | undefined;
  readonly sourceMark?: number | undefined;
  readonly keepaliveTimeS?: number | undefined;
  readonly keepaliveIntervalS?: number | undefined;
  readonly keepaliveRetries?: number | undefined;
  readonly userTimeoutMs?: number | undefined;
  readonly congestion?: string | undefined;
}

/** What `forward` or `tunnel` take, behind the weight and which of the two it is. */
export type NativeCandidate =
  | readonly [
      weight: number,
      isTunnel: false,
      ip: string,
      port: number,
      sourceIp: string,
      preamble: Uint8Array,
      headers: FlatHeaders,
    ]
  | readonly [
      weight: number,
      isTunnel: true,
      key: string,
      ip: string,
      port: number,
      authority: string,
      headers: FlatHeaders,
    ];

export interface Addon {
  start(threads: number, options: NativeOptions, onEvents: (events: readonly NativeEvent[]) => void): EngineHandle;
  stop(engine: EngineHandle): void;
  bufferedBytes(engine: EngineHandle): number;
  /** A text says what is wrong with the credentials. */
  createContext(keyPem: string, chainPem: string, rootsPem: string): TlsContextHandle | string;
  /** Takes a duplicate. @param netnsFd -1: the namespace of the process */
  addOwner(engine: EngineHandle, netnsFd: number): OwnerHandle;
  ownerId(owner: OwnerHandle): number;
  drainOwner(engine: EngineHandle, owner: OwnerHandle): void;
  forgetOwner(engine: EngineHandle, owner: OwnerHandle): void;
  /** Takes a duplicate of the listening descriptor. */
  listen(engine: EngineHandle, id: number, kind: number, owner: OwnerHandle, fd: number): void;
  closeListener(engine: EngineHandle, id: number): void;
  serveSession(engine: EngineHandle, thread: number, id: number, context: TlsContextHandle): void;
  openInnerSession(engine: EngineHandle, thread: number, id: number, carrier: number, context: TlsContextHandle): void;
  /** null: there are none. */
  useCredentials(engine: EngineHandle, thread: number, id: number, context: TlsContextHandle | null): void;
  acceptSession(engine: EngineHandle, thread: number, id: number): void;
  closeSession(engine: EngineHandle, thread: number, id: number, isGraceful: boolean): void;
  remember(
    engine: EngineHandle,
    thread: number,
    id: number,
    generation: number,
    decision: number,
    candidates: readonly NativeCandidate[],
  ): void;
  setGeneration(engine: EngineHandle, generation: number): void;
  /** @param sourceIp empty: the kernel's choice */
  forward(
    engine: EngineHandle,
    thread: number,
    id: number,
    ip: string,
    port: number,
    sourceIp: string,
    preamble: Uint8Array,
    headers: FlatHeaders,
  ): void;
  joinLocal(
    engine: EngineHandle,
    thread: number,
    id: number,
    twin: number,
    owner: OwnerHandle,
    ip: string,
    port: number,
    sourceIp: string,
    preamble: Uint8Array,
    headers: FlatHeaders,
  ): void;
  tunnel(
    engine: EngineHandle,
    thread: number,
    id: number,
    key: string,
    ip: string,
    port: number,
    authority: string,
    headers: FlatHeaders,
  ): void;
  park(
    engine: EngineHandle,
    thread: number,
    id: number,
    owner: OwnerHandle,
    key: string,
    ip: string,
    port: number,
    authority: string,
    headers: FlatHeaders,
  ): void;
  goOver(
    engine: EngineHandle,
    thread: number,
    id: number,
    session: number,
    authority: string,
    headers: FlatHeaders,
  ): void;
  dismiss(engine: EngineHandle, thread: number, id: number, status: number): void;
  cut(engine: EngineHandle, thread: number, id: number): void;
  versions(): readonly [opensslFound: number, opensslCompiled: number];
}

/** What the add-on was made for; later minor versions keep the interface. nghttp2 does not export its version. */
const NGHTTP2_MAJOR = 1;
const NGHTTP2_OLDEST_MINOR = 70;

/**
 * Loads the add-on. Throws ERR_UNSUPPORTED when it is not built, or when this node binary brings another OpenSSL or
 * nghttp2 than the add-on was made for.
 */
export function loadAddon(): Addon {
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)('../../../native/engine/build/engine.node') as Addon;
  } catch (cause) {
    throw new MeshError('ERR_UNSUPPORTED', `the native engine cannot be loaded: ${errorMessage(cause)}`, { cause });
  }
  const [found, compiled] = addon.versions();
  // major and minor: OpenSSL keeps its binary interface within them
  if (found >>> 20 !== compiled >>> 20)
    throw new MeshError(
      'ERR_UNSUPPORTED',
      `this Node.js brings OpenSSL ${process.versions.openssl}; rebuild the engine`,
    );
  const [major, minor = 0] = (process.versions.nghttp2 ?? '').split('.').map(Number);
  if (major !== NGHTTP2_MAJOR || minor < NGHTTP2_OLDEST_MINOR)
    throw new MeshError('ERR_UNSUPPORTED', `the native engine needs nghttp2 1.70, found ${process.versions.nghttp2}`);
  return addon;
}
