/**
 * The delta discovery service on a gRPC server: authenticates each stream, checks its node, and lets a `DeltaSession`
 * speak for as long as the transport takes more.
 */
import { randomUUID } from 'node:crypto';
import { type Server, type ServerDuplexStream, type ServiceDefinition, status } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { type Authenticator, type Caller, toCallerCredentials } from '../model/caller.ts';
import { DeltaSession, type TypeStatus } from './delta-session.ts';
import { DELTA_STREAM_PATH, type DeltaRequest, decodeDeltaRequest } from './message-codec.ts';
import { checkNode, type TunnelNode } from './node-check.ts';
import type { ResourceStore } from './resource-store.ts';
import { ResponseWriter } from './response-writer.ts';
import { TransferBudget } from './transfer-budget.ts';

export interface DiscoveryServiceDeps {
  readonly store: ResourceStore;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether a caller is a replica of the Gateway `namespace/name`. Absent: nobody is. */
  readonly mayServeGateway?: (caller: Caller, gateway: string) => boolean;
  /** Counts responses and the bytes sent. */
  readonly onPush?: (typeUrl: string, bytes: number) => void;
  readonly onNack?: (typeUrl: string) => void;
}

/** A connected subscriber: which node runs which generation of what. */
export interface SubscriberStatus {
  readonly node: TunnelNode;
  readonly connectedAtMs: number;
  readonly types: readonly TypeStatus[];
}

export interface DiscoveryService {
  /** Another number after anything that `subscribers` tells may have changed. */
  readonly revision: number;
  subscribers(): readonly SubscriberStatus[];
}

interface Subscriber {
  readonly node: TunnelNode;
  readonly connectedAtMs: number;
  readonly session: DeltaSession;
  readonly writer: ResponseWriter;
}

interface Shared {
  readonly budget: TransferBudget;
  readonly deps: DiscoveryServiceDeps;
  readonly subscribers: Set<Subscriber>;
  revision: number;
}

type Call = ServerDuplexStream<Buffer, Buffer>;
const sameBytes = (bytes: Buffer): Buffer => bytes;
const DEFINITION: ServiceDefinition = {
  DeltaAggregatedResources: {
    path: DELTA_STREAM_PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: sameBytes,
    requestDeserialize: sameBytes,
    responseSerialize: sameBytes,
    responseDeserialize: sameBytes,
  },
};

/** Adds the service to a server that its owner starts and closes. */
export function addDiscoveryService(server: Server, deps: DiscoveryServiceDeps): DiscoveryService {
  const shared: Shared = {
    deps,
    budget: new TransferBudget(deps.clock),
    subscribers: new Set(),
    revision: 0,
  };
  const { subscribers } = shared;
  server.addService(DEFINITION, {
    DeltaAggregatedResources: (call: Call) => {
      call.on('error', () => undefined); // a broken connection is an end like any other
      authenticate(call, deps).then(
        (caller) => caller && serve(call, caller, shared),
        (error: unknown) => fail(call, status.INTERNAL, errorMessage(error)),
      );
    },
  });
  return {
    get revision() {
      return shared.revision;
    },
    subscribers: () =>
      [...subscribers].map(({ node, connectedAtMs, session }) => ({ node, connectedAtMs, types: session.status() })),
  };
}

async function authenticate(call: Call, { authenticator, log }: DiscoveryServiceDeps): Promise<Caller | undefined> {
  const credentials = toCallerCredentials((name) => call.metadata.get(name));
  const caller = await authenticator.authenticate(credentials).catch((error: unknown) => {
    log.warn('authentication failed', { peer: call.getPeer(), error: errorMessage(error) });
    return undefined;
  });
  if (!caller) fail(call, status.UNAUTHENTICATED, 'authentication failure');
  return caller;
}

/** Requests were not read before: the stream waits until there is a listener. */
function serve(call: Call, caller: Caller, shared: Shared): void {
  const { deps, subscribers } = shared;
  let subscriber: Subscriber | undefined;
  const push = (): void => subscriber?.writer.push();
  call.on('drain', () => subscriber?.writer.drained());
  const leave = (): void => {
    if (!subscriber) return;
    subscriber.writer[Symbol.dispose]();
    subscribers.delete(subscriber);
    shared.revision += 1;
    subscriber.session[Symbol.dispose]();
    deps.log.info('subscriber left', { node: subscriber.node.nodeName, id: subscriber.node.id });
    subscriber = undefined;
  };
  const join = (request: DeltaRequest): boolean => {
    const check = checkNode(request.node, caller);
    if (!check.ok) {
      const code = check.kind === 'denied' ? status.PERMISSION_DENIED : status.INVALID_ARGUMENT;
      fail(call, code, check.message);
      return false;
    }
    const { gateway } = check.node;
    if (gateway !== undefined && !deps.mayServeGateway?.(caller, gateway)) {
      fail(call, status.PERMISSION_DENIED, `the caller's pod is not a replica of the gateway ${gateway}`);
      return false;
    }
    const session = new DeltaSession(deps.store, check.node, { newNonce: randomUUID, onPending: push });
    const writer = new ResponseWriter({
      ...{ transport: call, session, budget: shared.budget },
      onPush: (typeUrl, bytes) => deps.onPush?.(typeUrl, bytes),
      onFailure: (error) => {
        deps.log.error('push failed', { id: check.node.id, error });
        fail(call, status.INTERNAL, 'internal error');
      },
    });
    subscriber = { node: check.node, connectedAtMs: deps.clock.nowMs(), session, writer };
    subscribers.add(subscriber);
    deps.log.info('subscriber joined', { node: check.node.nodeName, id: check.node.id });
    return true;
  };
  call.on('data', (bytes: Buffer) => {
    shared.revision += 1;
    const request = readRequest(bytes, call);
    if (!request || call.writableEnded || (!subscriber && !join(request)) || !subscriber) return;
    if (request.errorMessage !== undefined) {
      deps.onNack?.(request.typeUrl);
      deps.log.warn('resources refused by subscriber', { id: subscriber.node.id, reason: request.errorMessage });
    }
    if (subscriber.session.receive(request) === 'too-many-names') {
      fail(call, status.RESOURCE_EXHAUSTED, 'too many resource names');
      return leave();
    }
    if (request.responseNonce !== '') subscriber.writer.answered();
    push();
  });
  call.on('end', () => {
    leave();
    call.end();
  });
  call.on('close', leave);
  call.on('error', leave);
  call.on('cancelled', leave);
}

function readRequest(bytes: Buffer, call: Call): DeltaRequest | undefined {
  try {
    return decodeDeltaRequest(bytes);
  } catch (error) {
    fail(call, status.INVALID_ARGUMENT, errorMessage(error));
    return undefined;
  }
}

function fail(call: Call, code: status, details: string): void {
  call.emit('error', { code, details, message: details });
}
