/**
 * What the other replicas say of their subscribers. A replica that does not answer says
 * nothing: its nodes count as not reached. Answers are bounded, and a call is over in `CALL_MS`.
 */
import { request } from 'undici';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Informer } from '../../kube/index.ts';
import { namespaceOf, type Pod } from '../resources.ts';
import { parseReport, type ReplicaReport } from './distribution.ts';

export interface PeerReportsDeps {
  readonly pods: Pick<Informer<Pod>, 'list'>;
  readonly namespace: string;
  /** Name of the own pod. */
  readonly self: string;
  /** Where replicas answer unless their pod names a container port `http-debug`. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export const REPORT_PATH = '/debug/distribution';
const PERIOD_MS = 1_000;
const CALL_MS = 2_000;
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_PEERS = 32;

export class PeerReports implements AsyncDisposable {
  readonly #deps: PeerReportsDeps;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #reports: readonly ReplicaReport[] = [];

  constructor(deps: PeerReportsDeps) {
    this.#deps = deps;
    this.#running = this.#run();
  }

  /** The last answers. */
  get current(): readonly ReplicaReport[] {
    return this.#reports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const answers = await Promise.all(this.#peers().map((url) => this.#ask(url)));
      this.#reports = answers.filter((answer) => answer !== undefined);
      await clock.sleep(PERIOD_MS, signal).catch(() => undefined); // rejects when disposed
    }
  }

  #peers(): readonly string[] {
    const { pods, namespace, self, port } = this.#deps;
    const replicas = pods
      .list(namespace)
      .filter((pod) => namespaceOf(pod) === namespace && pod.metadata.labels?.istio === 'pilot')
      .filter(({ metadata, status }) => metadata.name !== self && status?.phase === 'Running' && status.podIP);
    return replicas.slice(0, MAX_PEERS).map(({ spec, status }) => {
      const ports = (spec?.containers ?? []).flatMap((container) => container.ports ?? []);
      const own = ports.find(({ name }) => name === 'http-debug')?.containerPort ?? port;
      const ip = status?.podIP ?? '';
      return `http://${ip.includes(':') ? `[${ip}]` : ip}:${own}${REPORT_PATH}`;
    });
  }

  async #ask(url: string): Promise<ReplicaReport | undefined> {
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(CALL_MS)]);
      const { statusCode, body } = await request(url, { signal });
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > MAX_BYTES) throw new Error(`answer longer than ${MAX_BYTES} bytes`);
        chunks.push(chunk);
      }
      return statusCode === 200 ? parseReport(JSON.parse(Buffer.concat(chunks).toString('utf8'))) : undefined;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#deps.log.debug('replica not asked', { url, error: errorMessage(error) });
      return undefined;
    }
  }
}
