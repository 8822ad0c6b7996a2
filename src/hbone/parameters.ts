/**
 * What both ends of an HBONE session agree on: TLS and HTTP/2 parameters.
 * Source: RFC 9113 sections 6.5.2 and 8.5; values are those of Istio's ambient mode.
 */
import type { SecureContextOptions } from 'node:tls';

/** Sizes in bytes. */
export interface SessionLimits {
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly frameSizeBytes: number;
}

export const HBONE_ALPN = 'h2';
/** Streams a server allows per session. */
export const SERVER_MAX_STREAMS = 200;
const SERVER_HEADER_LIST_BYTES = 65_536;
const CLIENT_HEADER_LIST_BYTES = 16_384;

/** TLS 1.3 only. AES-256 first: both ends have hardware for it. */
export const TLS_PARAMETERS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
  honorCipherOrder: true,
} as const satisfies SecureContextOptions;

/** Megabytes of frames that one session may hold in memory while they wait to be sent. */
const SESSION_MEMORY_MB = 128;

/**
 * Where Node ends a session by itself. A pooled session lives long and carries many short connections that may end by
 * reset, while Node's own limits are those of a web server that faces browsers: 1,000 resets at once and 33 a second, and
 * 100 streams refused over the whole life of a session. These are far above what applications do, and still end a flood.
 */
export const FLOOD_GUARDS = {
  streamResetBurst: 20_000,
  streamResetRate: 20_000,
  maxSessionRejectedStreams: 100_000,
  maxSessionMemory: SESSION_MEMORY_MB,
} as const;

export function serverSettings({ streamWindowBytes, frameSizeBytes }: SessionLimits) {
  return {
    initialWindowSize: streamWindowBytes,
    maxFrameSize: frameSizeBytes,
    maxConcurrentStreams: SERVER_MAX_STREAMS,
    maxHeaderListSize: SERVER_HEADER_LIST_BYTES,
  };
}

export function clientSettings({ streamWindowBytes, frameSizeBytes }: SessionLimits) {
  return {
    enablePush: false,
    initialWindowSize: streamWindowBytes,
    maxFrameSize: frameSizeBytes,
    maxHeaderListSize: CLIENT_HEADER_LIST_BYTES,
  };
}
