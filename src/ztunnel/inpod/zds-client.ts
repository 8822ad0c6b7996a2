/**
 * Keeps one ZDS connection to the node agent: connects, says hello, answers every request, reconnects.
 *
 * Guarantees
 *  - One request is answered before the next is read.
 *  - A lost connection leaves running proxies as they are; pending ones are forgotten, the agent names them again.
 *  - Descriptors that are not taken over are closed, whatever came with them.
 *  - A broken rule of the protocol is answered, logged and counted; then the connection is made anew.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { PodInfo } from '../state/workload-index.ts';
import { encodeAck, encodeHello } from './zds-codec.ts';
import { ZdsSession } from './zds-session.ts';

export interface ZdsConnection extends AsyncDisposable {
  send(data: Uint8Array): Promise<void>;
  /** Undefined at the end of the stream; `fds` belong to the receiver. */
  receive(signal?: AbortSignal): Promise<{ readonly data: Uint8Array; readonly fds: readonly number[] } | undefined>;
}

export interface ZdsClientDeps<N> {
  readonly connect: () => Promise<ZdsConnection>;
  readonly adoptNetns: (fd: number) => N;
  readonly closeFd: (fd: number) => void;
  readonly pods: {
    add(uid: string, info: PodInfo, netns: N): Promise<void>;
    delete(uid: string): void;
    retain(uids: ReadonlySet<string>): void;
    forgetPending(): void;
  };
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the agent's snapshot is known. */
  readonly synced: (isSynced: boolean) => void;
  readonly refused: () => void;
}

const BACKOFF_MIN_MS = 20;
/** Connecting to a unix socket costs little, and a returned agent has pods that wait. */
const BACKOFF_MAX_MS = 250;

/** Serves until `signal` aborts. Never rejects for anything the agent does. */
export async function runZdsClient<N>(deps: ZdsClientDeps<N>, signal: AbortSignal): Promise<void> {
  let backoffMs = BACKOFF_MIN_MS;
  while (!signal.aborted) {
    let wasSynced = false;
    try {
      await using connection = await deps.connect();
      deps.log.info('connected to the node agent');
      wasSynced = await serve(connection, deps, signal);
      deps.log.info('the node agent closed the connection');
    } catch (error) {
      if (!signal.aborted) deps.log.warn('connection to the node agent failed', { error: errorMessage(error) });
    }
    if (signal.aborted) return;
    deps.synced(false);
    deps.pods.forgetPending();
    if (wasSynced) backoffMs = BACKOFF_MIN_MS;
    await deps.clock.sleep(backoffMs, signal).catch(() => {});
    backoffMs = Math.min(BACKOFF_MAX_MS, backoffMs * 2);
  }
}

/** Resolves at the end of the connection with whether the snapshot was complete. */
async function serve<N>(connection: ZdsConnection, deps: ZdsClientDeps<N>, signal: AbortSignal): Promise<boolean> {
  const session = new ZdsSession();
  await connection.send(encodeHello());
  for (;;) {
    const message = await connection.receive(signal);
    if (!message) return session.hasSnapshot;
    const step = session.receive(message.data, message.fds.length);
    if (step.kind !== 'add') for (const fd of message.fds) deps.closeFd(fd);
    switch (step.kind) {
      case 'refuse':
        deps.refused();
        deps.log.warn('the node agent broke the protocol', { error: step.error });
        await connection.send(encodeAck(step.error));
        return false;
      case 'add':
        await connection.send(encodeAck(await add(step, message.fds, deps)));
        break;
      case 'del':
        deps.pods.delete(step.uid);
        await connection.send(encodeAck());
        break;
      case 'keep':
        await connection.send(encodeAck());
        break;
      case 'retain':
        deps.pods.retain(step.uids);
        deps.synced(true);
        await connection.send(encodeAck());
        break;
    }
  }
}

/** The error for the Ack, empty on success. */
async function add<N>(
  { uid, info }: { readonly uid: string; readonly info: PodInfo },
  fds: readonly number[],
  { pods, adoptNetns, log }: ZdsClientDeps<N>,
): Promise<string> {
  try {
    const [fd = -1] = fds; // the session checked that there is one
    await pods.add(uid, info, adoptNetns(fd));
    return '';
  } catch (error) {
    log.warn('pod proxy failed to start', { uid, error: errorMessage(error) });
    return `failure to start proxy : ${errorMessage(error)}`;
  }
}
