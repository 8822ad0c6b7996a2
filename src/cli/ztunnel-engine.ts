/** Makes the engine that the configuration asks for. */
import type { Logger } from '../core/logger.ts';
import {
  chooseEngine,
  type Engine,
  type EngineHandlers,
  type EngineOptions,
  NativeEngine,
  TypescriptEngine,
} from '../engine/index.ts';
import { SOURCE_PRESERVING_MARK } from '../model/ports.ts';
import type { RevocationLists } from '../pki/index.ts';
import type { ZtunnelConfig } from './ztunnel-config.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** Throws ERR_UNSUPPORTED when the native engine is demanded and cannot run. */
export function makeEngine(
  config: ZtunnelConfig,
  handlers: EngineHandlers,
  { revocations, log }: { readonly revocations: () => RevocationLists; readonly log: Logger },
): Engine {
  const options: EngineOptions = {
    maxStreamsPerSession: config.maxStreamsPerSession,
    poolIdleTimeoutMs: config.poolIdleTimeoutMs,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    streamWindowBytes: config.streamWindowBytes,
    connectionWindowBytes: config.connectionWindowBytes,
    frameSizeBytes: config.frameSizeBytes,
    ...(config.mark === undefined ? {} : { mark: config.mark }),
    sourcePreservingMark: SOURCE_PRESERVING_MARK,
    keepalive: config.keepalive,
    userTimeout: config.userTimeout,
    revocations,
  };
  const engines = {
    native: () => new NativeEngine(handlers, { ...options, threads: config.engineThreads }),
    typescript: () => new TypescriptEngine(handlers, options),
  };
  return chooseEngine(config.engine, engines, log);
}
