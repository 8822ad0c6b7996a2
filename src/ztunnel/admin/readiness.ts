/** What the tunnel still waits for before it may be called ready. Source: Istio ztunnel readiness. */
import {
  type HttpAnswer,
  type HttpListener,
  type HttpQuestion,
  serveHttp,
  textAnswer,
} from '../../core/http-listener.ts';

export type ReadinessTask = 'state manager' | 'proxy' | 'dns proxy' | 'workload proxy manager';

export class Readiness {
  readonly #pending: Set<ReadinessTask>;
  #isDraining = false;

  constructor(tasks: readonly ReadinessTask[]) {
    this.#pending = new Set(tasks);
  }

  get isReady(): boolean {
    return this.#pending.size === 0;
  }

  get pending(): readonly ReadinessTask[] {
    return [...this.#pending].sort();
  }

  set(task: ReadinessTask, isDone: boolean): void {
    if (!isDone) this.#pending.add(task);
    else if (!this.#isDraining) this.#pending.delete(task);
  }

  /** From now on nothing becomes ready again. */
  drain(): void {
    this.#isDraining = true;
  }
}

/** `GET /healthz/ready`: 200, or 500 with what is pending. */
export function serveReadiness(
  address: { readonly host: string; readonly port: number },
  readiness: Readiness,
): Promise<HttpListener> {
  return serveHttp(address, (question) => answerReadiness(question, readiness));
}

export function answerReadiness(
  { method, path }: Pick<HttpQuestion, 'method' | 'path'>,
  readiness: Readiness,
): HttpAnswer {
  if (path !== '/healthz/ready') return textAnswer(404, 'not found\n');
  if (method !== 'GET') return textAnswer(405, 'method not allowed\n');
  if (readiness.isReady) return textAnswer(200, 'ready\n');
  return textAnswer(500, `not ready, pending: ${readiness.pending.join(', ')}\n`);
}
