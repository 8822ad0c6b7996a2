/**
 * The socket the node's tunnels connect to. It hands out namespaces: only root may connect.
 *
 * Invariants
 *  - A new connection gets every known pod and then the end of the snapshot, before anything else.
 *  - New pods go to the newest connection only: it is the one that will stay during an upgrade.
 *  - Deletions go to all connections: an old tunnel drains.
 * Source: Istio ZDS; see the codec for messages.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Netns, SeqpacketServer, type SeqpacketSocket } from 'culvert-netns';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { WorkloadInfo } from './zds-codec.ts';
import { ZdsConnection } from './zds-connection.ts';

export interface ZdsPod {
  readonly uid: string;
  readonly info: WorkloadInfo;
  /** Absent: the namespace is not known (yet); a tunnel that has it keeps it. */
  readonly netns?: Netns | undefined;
}

export interface ZdsServerOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Every pod the tunnel should serve. */
  readonly snapshot: () => readonly ZdsPod[];
  /** A tunnel said hello; awaited before it is told of any pod. */
  readonly onTunnel: (pid: number) => Promise<void>;
  /** The newest connection changed; undefined: there is none. */
  readonly onConnections: (count: number, newestPid: number | undefined) => void;
  /** A pod of the snapshot was acknowledged, or refused with this error. */
  readonly onSnapshotAnswer: (uid: string, error: string) => void;
}

const ACCEPTS_PER_SECOND = 5;
const CONNECTIONS_MAX = 16;

export class ZdsServer implements AsyncDisposable {
  readonly #options: ZdsServerOptions;
  readonly #server: SeqpacketServer;
  /** Oldest first. */
  readonly #connections: ZdsConnection[] = [];
  readonly #stop = new AbortController();
  #accepting: Promise<void> = Promise.resolve();

  private constructor(options: ZdsServerOptions, server: SeqpacketServer) {
    this.#options = options;
    this.#server = server;
  }

  /** Makes the socket; rejects with ERR_SYSTEM. Connections wait until `serve`. */
  static async listen(options: ZdsServerOptions): Promise<ZdsServer> {
    try {
      await mkdir(dirname(options.path), { recursive: true, mode: 0o700 });
      return new ZdsServer(options, await SeqpacketServer.listen(options.path, 0o600));
    } catch (cause) {
      throw new MeshError('ERR_SYSTEM', `cannot listen on ${options.path}: ${errorMessage(cause)}`, { cause });
    }
  }

  /** Starts to accept; in the background until disposed. */
  serve(): void {
    this.#accepting = this.#acceptAll();
  }

  get connections(): number {
    return this.#connections.length;
  }

  /** Resolves when the newest tunnel listens in the pod. Rejects with ERR_ZDS. */
  async add({ uid, info, netns }: Required<ZdsPod>): Promise<void> {
    const newest = this.#connections.at(-1);
    if (newest === undefined) throw new MeshError('ERR_ZDS', 'no tunnel is connected');
    const error = await newest.request({ kind: 'add', uid, info }, netns);
    if (error !== '') throw new MeshError('ERR_ZDS', `the tunnel refused the pod: ${error}`);
  }

  /** Tells every tunnel. Rejects with ERR_ZDS when one refused; one that is gone does not count. */
  async delete(uid: string): Promise<void> {
    const answers = await Promise.allSettled(this.#connections.map((c) => c.request({ kind: 'del', uid })));
    const refusal = answers.find((answer) => answer.status === 'fulfilled' && answer.value !== '');
    if (refusal?.status === 'fulfilled') throw new MeshError('ERR_ZDS', `a tunnel refused to leave: ${refusal.value}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#server[Symbol.asyncDispose]();
    for (const connection of [...this.#connections]) connection.close('the agent ends');
    await this.#accepting;
  }

  async #acceptAll(): Promise<void> {
    const { clock, log } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        const socket = await this.#server.accept();
        if (socket === undefined) return;
        void this.#serveOne(socket);
        await clock.sleep(1_000 / ACCEPTS_PER_SECOND, this.#stop.signal);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        log.error('cannot accept a tunnel', { error: errorMessage(error) });
        await clock.sleep(1_000, this.#stop.signal).catch(() => {});
      }
    }
  }

  async #serveOne(socket: SeqpacketSocket): Promise<void> {
    const { clock, log } = this.#options;
    const { pid, uid } = socket.peer;
    if (uid !== 0 || this.#connections.length >= CONNECTIONS_MAX) {
      log.warn('tunnel refused', { pid, uid, connections: this.#connections.length });
      await socket[Symbol.asyncDispose]();
      return;
    }
    const connection = new ZdsConnection(socket, clock);
    try {
      await connection.handshake();
      await this.#options.onTunnel(connection.pid);
      this.#connections.push(connection);
      this.#changed();
      log.info('tunnel connected', { pid, connections: this.#connections.length });
      await this.#sendSnapshot(connection);
      log.warn('tunnel disconnected', { pid, reason: await connection.ended });
    } catch (error) {
      connection.close(errorMessage(error));
      log.warn('tunnel disconnected', { pid, reason: errorMessage(error) });
    } finally {
      const index = this.#connections.indexOf(connection);
      if (index >= 0) this.#connections.splice(index, 1);
      this.#changed();
    }
  }

  /** All requests are put in line at once, so that a pod added meanwhile comes after the snapshot. */
  async #sendSnapshot(connection: ZdsConnection): Promise<void> {
    const { snapshot, onSnapshotAnswer, log } = this.#options;
    const sent = snapshot().map(async ({ uid, info, netns }) => {
      const answer = netns
        ? connection.request({ kind: 'add', uid, info }, netns)
        : connection.request({ kind: 'keep', uid });
      const error = await answer;
      if (error !== '') log.warn('tunnel refused a pod of the snapshot', { uid, error });
      if (netns) onSnapshotAnswer(uid, error);
    });
    const end = connection.request({ kind: 'snapshot-sent' });
    await Promise.all([...sent, end]);
    const error = await end;
    if (error !== '') throw new MeshError('ERR_ZDS', `the tunnel refused the snapshot: ${error}`);
  }

  #changed(): void {
    this.#options.onConnections(this.#connections.length, this.#connections.at(-1)?.pid);
  }
}
