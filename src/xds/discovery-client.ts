/**
 * Client of the discovery service over gRPC: keeps one stream open for as long as its signal lives, and feeds a
 * `DeltaClient`. Every stream has its own channel, so that rotated roots and a new server address are seen.
 */
import type { Client, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { connectivityState, status } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { callMetadata, type GrpcEndpoint, openGrpcClient } from '../core/grpc-endpoint.ts';
import type { Logger } from '../core/logger.ts';
import { DeltaClient } from './delta-client.ts';
import {
  DELTA_STREAM_PATH,
  type DeltaRequest,
  decodeDeltaResponse,
  encodeDeltaRequest,
  type NodeInfo,
} from './message-codec.ts';
import { INITIAL_BACKOFF_MS, reconnectDelay, type StreamEnd, type TerminationReason } from './reconnect-delay.ts';
import type { Subscription } from './subscription.ts';

const CONNECT_TIMEOUT_MS = 5_000;

export interface DiscoveryClientOptions {
  readonly endpoint: GrpcEndpoint;
  readonly node: NodeInfo;
  readonly subscriptions: readonly Subscription[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Counts ended streams. */
  readonly onTermination?: (reason: TerminationReason) => void;
  /** Counts responses and the bytes of their resources. */
  readonly onMessage?: (typeUrl: string, resourceBytes: number) => void;
  /** A stream has brought its first response: the control plane is there (again). */
  readonly onConnected?: () => void;
}

type Stream = ClientDuplexStream<Buffer, Buffer>;
const sameBytes = (bytes: Buffer): Buffer => bytes;

export class DiscoveryClient {
  readonly #options: DiscoveryClientOptions;
  readonly #delta: DeltaClient;
  #stream: Stream | undefined;

  constructor(options: DiscoveryClientOptions) {
    this.#options = options;
    this.#delta = new DeltaClient(options.node, options.subscriptions);
  }

  /** Resolves when the state of every wildcard type has been received and applied once. */
  get ready(): Promise<void> {
    return this.#delta.ready;
  }

  get isReady(): boolean {
    return this.#delta.isReady;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined;
  }

  /** Runs until `signal` aborts; failures of the server are waited out. Resolves then, and only then. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, onTermination } = this.#options;
    let backoffMs = INITIAL_BACKOFF_MS;
    while (!signal.aborted) {
      const { end, heard } = await this.#serveStream(signal);
      if (signal.aborted) return;
      // A server that spoke was well: an outage before it does not slow down the next attempt.
      const next = reconnectDelay(end, heard ? INITIAL_BACKOFF_MS : backoffMs);
      backoffMs = next.backoffMs;
      onTermination?.(next.reason);
      log.warn('discovery stream ended', { reason: next.reason, ...describe(end), retryMs: next.delayMs });
      await clock.sleep(next.delayMs, signal).catch(() => undefined); // only an abort ends it early
    }
  }

  /**
   * Waits until one name of an on-demand type, or its absence, has been applied; a name that others wait for already is
   * not asked for again. Rejects with ERR_ABORTED when `signal` aborts, with ERR_LIMIT when too many lookups wait and with
   * ERR_MALFORMED when the resource was refused.
   */
  async demand(typeUrl: string, name: string, signal: AbortSignal): Promise<void> {
    const { request, done, cancel } = this.#delta.demand(typeUrl, name);
    if (request) this.#stream?.write(encodeDeltaRequest(request)); // without a stream the next one asks
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(new MeshError('ERR_ABORTED', `gave up waiting for ${name}`));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([done, aborted.promise]);
    } finally {
      cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** One stream from its opening to its end. Total. */
  async #serveStream(signal: AbortSignal): Promise<{ end: StreamEnd; heard: boolean }> {
    const { endpoint, log } = this.#options;
    let client: Client | undefined;
    try {
      client = await openGrpcClient(endpoint);
      const metadata = await callMetadata(endpoint);
      const stream = client.makeBidiStreamRequest(DELTA_STREAM_PATH, sameBytes, sameBytes, metadata);
      return await this.#converse(stream, client, signal);
    } catch (error) {
      log.warn('discovery stream cannot be opened', { error: errorMessage(error) });
      return { end: { kind: 'not-opened' }, heard: false };
    } finally {
      this.#stream = undefined;
      client?.close();
    }
  }

  #converse(stream: Stream, client: Client, signal: AbortSignal): Promise<{ end: StreamEnd; heard: boolean }> {
    const { clock, onConnected } = this.#options;
    const ended = Promise.withResolvers<{ end: StreamEnd; heard: boolean }>();
    const timer = new AbortController();
    let opened = false;
    let heard = false;
    const finish = (end: StreamEnd): void => {
      timer.abort();
      ended.resolve({ end, heard });
    };
    const cancel = (): void => stream.cancel();
    stream.on('metadata', () => {
      opened = true;
    });
    stream.on('data', (bytes: Buffer) => {
      try {
        this.#answer(bytes, stream);
      } catch (error) {
        this.#options.log.error('discovery response cannot be used', { error: errorMessage(error) });
        finish({ kind: 'failed' });
        stream.cancel();
        return;
      }
      if (heard) return;
      heard = true;
      onConnected?.();
    });
    stream.on('error', (error: ServiceError) => {
      finish(opened ? { kind: 'status', code: error.code, details: error.details } : { kind: 'not-opened' });
      if (!opened) this.#options.log.warn('discovery server refused or not reachable', { error: error.message });
    });
    stream.on('status', ({ code }: { code: number }) => {
      if (code === status.OK) finish({ kind: 'complete' });
    });
    clock.sleep(CONNECT_TIMEOUT_MS, timer.signal).then(
      () => {
        if (client.getChannel().getConnectivityState(false) !== connectivityState.READY) cancel();
      },
      () => undefined, // the stream ended before
    );
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    this.#stream = stream;
    for (const request of this.#delta.open()) stream.write(encodeDeltaRequest(request));
    return ended.promise.finally(() => signal.removeEventListener('abort', cancel));
  }

  /** One request for one response: what waits to be written is bounded by what the server sent. */
  #answer(bytes: Buffer, stream: Stream): void {
    const { log, onMessage } = this.#options;
    const response = decodeDeltaResponse(bytes);
    const { typeUrl, resources, removed } = response;
    onMessage?.(
      typeUrl,
      resources.reduce((sum, resource) => sum + resource.bytes.length, 0),
    );
    const { answer, rejections } = this.#delta.receive(response);
    const counts = { resources: resources.length, removed: removed.length, rejected: rejections.length };
    log.debug('discovery response applied', { typeUrl, nonce: response.nonce, ...counts });
    for (const { name, reason } of rejections.slice(0, 10)) log.warn('resource rejected', { typeUrl, name, reason });
    stream.write(encodeDeltaRequest(answer satisfies DeltaRequest));
  }
}

function describe(end: StreamEnd): Record<string, unknown> {
  return end.kind === 'status' ? { code: end.code, details: end.details } : {};
}
