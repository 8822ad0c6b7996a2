/**
 * One engine with scripted decisions, and what it told: the bed on which engines are tested. Everything listens on
 * loopback with ports of the kernel's choice; who decides is the test.
 */
import { systemClock } from '../../src/core/system-clock.ts';
import type {
  ConnectionOutcome,
  Engine,
  EngineHandlers,
  EngineListener,
  EngineOptions,
  HandshakeFailure,
  HboneStream,
  InboundDecision,
  ListenerKind,
  OutboundDecision,
  PlainConnection,
  ReusableDecision,
  TlsCredentials,
} from '../../src/engine/index.ts';
import type { Identity } from '../../src/model/identity.ts';
import { CertificateAuthority, type RevocationLists, selfIssuing } from '../../src/pki/index.ts';

export type EngineFactory = (handlers: EngineHandlers, options: EngineOptions) => Engine;

export const CLIENT: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'client' };
export const SERVER: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'server' };

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

export interface Script {
  outbound?: (connection: PlainConnection) => OutboundDecision | Promise<OutboundDecision>;
  inboundPlain?: (connection: PlainConnection) => InboundDecision | Promise<InboundDecision>;
  inboundHbone?: (stream: HboneStream) => InboundDecision | Promise<InboundDecision>;
  credentials?: (identity: Identity) => Promise<TlsCredentials>;
  reusable?: (connection: PlainConnection | HboneStream) => ReusableDecision | undefined;
  reused?: (connection: PlainConnection | HboneStream, token: unknown, isCurrent: boolean) => string | undefined;
}

export interface Rig extends AsyncDisposable {
  readonly engine: Engine;
  readonly authority: CertificateAuthority;
  readonly streams: HboneStream[];
  readonly opened: number[];
  readonly outcomes: Map<number, ConnectionOutcome>;
  readonly failures: HandshakeFailure[];
  readonly progressed: { received: number; sent: number };
  listen(kind: ListenerKind): Promise<EngineListener>;
}

/** @param authority shared by both ends of a test; one of its own when absent */
export async function startRig(
  create: EngineFactory,
  script: Script,
  {
    authority,
    ...options
  }: Partial<EngineOptions> & { authority?: CertificateAuthority; revocations?: () => RevocationLists } = {},
): Promise<Rig> {
  const ca = authority ?? (await newAuthority());
  const issued = new Map<string, Promise<TlsCredentials>>();
  const signal = new AbortController().signal;
  const rig = {
    streams: [] as HboneStream[],
    opened: [] as number[],
    outcomes: new Map<number, ConnectionOutcome>(),
    failures: [] as HandshakeFailure[],
    progressed: { received: 0, sent: 0 },
  };
  const unscripted = () => Promise.resolve({ action: 'refuse', reason: 'not scripted', status: 503 } as const);
  const handlers: EngineHandlers = {
    decideOutbound: async (connection) => script.outbound?.(connection) ?? unscripted(),
    decideInboundPlain: async (connection) => script.inboundPlain?.(connection) ?? unscripted(),
    decideInboundHbone: async (stream) => {
      rig.streams.push(stream);
      return script.inboundHbone?.(stream) ?? unscripted();
    },
    serverIdentity: async () => SERVER,
    credentials: (identity) => {
      if (script.credentials) return script.credentials(identity);
      const key = identity.serviceAccount;
      const known = issued.get(key) ?? selfIssuing(ca).fetch(identity, signal);
      issued.set(key, known);
      return known;
    },
    reusable: (connection) => script.reusable?.(connection),
    reused: (connection, token, isCurrent) => script.reused?.(connection, token, isCurrent),
    opened: (id) => rig.opened.push(id),
    progress: (_id, received, sent) => {
      rig.progressed.received += received;
      rig.progressed.sent += sent;
    },
    closed: (id, outcome) => {
      if (rig.outcomes.has(id)) throw new Error(`connection ${id} was closed twice`);
      rig.outcomes.set(id, outcome);
    },
    handshakeFailed: (failure) => rig.failures.push(failure),
    socketsOpen: () => {},
  };
  const engine = create(handlers, { ...OPTIONS, ...options });
  return {
    ...rig,
    engine,
    authority: ca,
    listen: (kind) =>
      engine.listen({ kind, owner: 'pod', ip: '127.0.0.1', port: 0, reusePort: false, transparent: false }),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

export function newAuthority(trustDomain = 'cluster.local'): Promise<CertificateAuthority> {
  return CertificateAuthority.ephemeral({ trustDomain, clock: systemClock });
}
