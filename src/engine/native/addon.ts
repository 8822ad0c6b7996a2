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

/** Numbers are shared with native/engine/addon/event.h. */
export const EVENT = {
  handshake: 0,
  sessionClosed: 1,
  settings: 2,
  goaway: 3,
  stream: 4,
  established: 5,
  refused: 6,
  ended: 7,
  progress: 8,
} as const;

export const CLOSE_CAUSE = { ended: 0, tls: 1, http2: 2 } as const;

export const END_CAUSE = { order: 0, system: 1, status: 2, aborted: 3, noAnswer: 4 } as const;

/** See event.h for what each kind fills. `list` holds Buffers for `handshake`, text otherwise. */
export type NativeEvent = readonly [
  kind: number,
  id: number,
  a: number,
  b: number,
  n: number,
  cause: number,
  text: string,
  list: readonly (string | Buffer)[],
];

/** Header names and values in turn. */
export type FlatHeaders = readonly string[];

export interface Addon {
  start(
    threads: number,
    streamWindow: number,
    connectionWindow: number,
    frameSize: number,
    onEvents: (events: readonly NativeEvent[]) => void,
  ): EngineHandle;
  stop(engine: EngineHandle): void;
  bufferedBytes(engine: EngineHandle): number;
  /** A text says what is wrong with the credentials. */
  createContext(keyPem: string, chainPem: string, rootsPem: string): TlsContextHandle | string;
  /** @param fd -1: over the stream `carrier` */
  openSession(
    engine: EngineHandle,
    thread: number,
    id: number,
    isServer: boolean,
    fd: number,
    carrier: number,
    context: TlsContextHandle,
    timeoutMs: number,
  ): void;
  acceptSession(engine: EngineHandle, thread: number, id: number): void;
  closeSession(engine: EngineHandle, thread: number, id: number, isGraceful: boolean): void;
  connect(
    engine: EngineHandle,
    thread: number,
    id: number,
    session: number,
    fd: number,
    authority: string,
    headers: FlatHeaders,
  ): void;
  answer(engine: EngineHandle, thread: number, id: number, status: number): void;
  serve(engine: EngineHandle, thread: number, id: number, fd: number, headers: FlatHeaders, preamble: Uint8Array): void;
  join(engine: EngineHandle, thread: number, id: number, client: number, server: number, preamble: Uint8Array): void;
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
