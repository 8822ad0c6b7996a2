/**
 * One tunnel of the engine benchmark, a process of its own: told over IPC whom to be and where to send, it answers with
 * the port it listens on. Decisions are constant, so that what is measured is the engine.
 */
import {
  type EngineHandlers,
  type EngineOptions,
  type ForwardHbone,
  type ForwardPlain,
  type InboundDecision,
  type ListenerKind,
  NativeEngine,
  type OutboundDecision,
  type TlsCredentials,
  TypescriptEngine,
} from '../src/engine/index.ts';

/** What the parent sends. */
export interface NodeOrder {
  readonly engine: { readonly name: 'typescript' | 'native'; readonly threads?: number };
  readonly kind: ListenerKind;
  readonly credentials: TlsCredentials;
  readonly decision: OutboundDecision | InboundDecision;
  /** Where to listen; any port of 127.0.0.1 when absent. */
  readonly ip?: string;
  readonly port?: number;
}

const OPTIONS: EngineOptions = {
  maxStreamsPerSession: 100,
  poolIdleTimeoutMs: 300_000,
  connectTimeoutMs: 10_000,
  streamWindowBytes: 4 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  frameSizeBytes: 1024 * 1024,
  keepalive: undefined,
  userTimeout: false,
};

process.once('message', async (message) => {
  const { engine: which, kind, credentials, decision, ip = '127.0.0.1', port = 0 } = message as NodeOrder; // sent by engine.ts
  const handlers: EngineHandlers = {
    decideOutbound: async () => decision as OutboundDecision,
    decideInboundPlain: async () => decision as InboundDecision,
    decideInboundHbone: async () => decision as InboundDecision,
    serverIdentity: async () => credentials.identity,
    credentials: async () => credentials,
    reusable: () => ({
      candidates: [{ weight: 1, decision: decision as ForwardPlain | ForwardHbone, token: undefined }],
    }),
    opened: () => {},
    progress: () => {},
    closed: () => {},
    handshakeFailed: ({ error }) => console.error(error),
    socketsOpen: () => {},
  };
  const engine =
    which.name === 'native'
      ? new NativeEngine(handlers, { ...OPTIONS, threads: which.threads ?? 1 })
      : new TypescriptEngine(handlers, OPTIONS);
  const listener = await engine.listen({
    kind,
    owner: 'bench',
    ip,
    port,
    reusePort: false,
    transparent: false,
  });
  process.send?.({ port: listener.port });
});
process.once('disconnect', () => process.exit(0));
