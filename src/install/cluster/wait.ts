/** Waits until what was applied runs, tells how far it is, and says why when it does not. */
import type { Clock } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import type { PlainObject } from '../manifests/index.ts';
import { type ApiObject, type Cluster, nameOf } from './cluster.ts';
import { type PodProblem, podProblems } from './diagnosis.ts';
import { kindPath } from './object-path.ts';
import { rolloutOf } from './rollout.ts';

export interface Progress {
  /** The present step; replaces the one before. */
  step(text: string): void;
  /** Something that stays readable. */
  note(text: string): void;
}

export interface WaitOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

const POLL_MS = 500;
const PODS = kindPath('v1', 'Pod');
const EVENTS = kindPath('v1', 'Event');
/** A pod may be briefly unready without anything being wrong. */
const PATIENCE_MS = 5_000;

/** Rejects with ERR_TIMEOUT; its message has every problem that is seen, with the last lines of crashed programs. */
export async function waitUntilReady(
  cluster: Cluster,
  workloads: readonly PlainObject[],
  { clock, timeoutMs, progress, signal }: WaitOptions,
): Promise<void> {
  const started = clock.monotonicMs();
  const told = new Set<string>();
  for (;;) {
    const present = await Promise.all(
      workloads.map(({ apiVersion, kind, metadata }) =>
        cluster.read(apiVersion, kind, metadata.name, metadata.namespace),
      ),
    );
    const waiting = present.flatMap((object) => (object && !rolloutOf(object).ready ? [object] : []));
    if (waiting.length === 0) return;
    progress.step(waiting.map(describe).join(', '));
    const elapsed = clock.monotonicMs() - started;
    const problems = elapsed < PATIENCE_MS ? [] : await problemsOf(cluster, waiting);
    for (const { pod, node, text, usual } of problems) {
      const line = `${pod} on ${node}: ${text}`;
      if (!usual && !told.has(line)) progress.note(line);
      told.add(line);
    }
    if (elapsed >= timeoutMs) throw await failure(cluster, waiting, problems);
    await clock.sleep(POLL_MS, signal);
  }
}

/** Waits until the objects, and with them their pods, are gone. Rejects with ERR_TIMEOUT. */
export async function waitUntilGone(
  cluster: Cluster,
  objects: readonly PlainObject[],
  { clock, timeoutMs, progress, signal }: WaitOptions,
): Promise<void> {
  const deadline = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const left: PlainObject[] = [];
    for (const object of objects) {
      const { apiVersion, kind, metadata } = object;
      if (await cluster.read(apiVersion, kind, metadata.name, metadata.namespace)) left.push(object);
    }
    if (left.length === 0) return;
    progress.step(`waiting for the end of ${left.map(nameOf).join(', ')}`);
    if (clock.monotonicMs() >= deadline) {
      throw new MeshError('ERR_TIMEOUT', `${left.map(nameOf).join(', ')} did not end within ${timeoutMs / 1_000} s`);
    }
    await clock.sleep(POLL_MS, signal);
  }
}

function describe(object: ApiObject): string {
  const { current, wanted } = rolloutOf(object);
  return `${nameOf(object)}: ${current} of ${wanted} pods ready`;
}

async function problemsOf(cluster: Cluster, workloads: readonly ApiObject[]): Promise<readonly PodProblem[]> {
  const problems: PodProblem[] = [];
  for (const workload of workloads) {
    for (const pod of await podsOf(cluster, workload)) {
      const { name, namespace } = pod.metadata;
      const events = await cluster.list(EVENTS, { fieldSelector: `involvedObject.name=${name}` }, namespace);
      problems.push(...podProblems(pod, events));
    }
  }
  return problems;
}

async function podsOf(cluster: Cluster, { spec, metadata }: ApiObject): Promise<readonly ApiObject[]> {
  const labels = (spec as { selector?: { matchLabels?: Record<string, string> } } | undefined)?.selector?.matchLabels;
  const labelSelector = Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  return cluster.list(PODS, { labelSelector }, metadata.namespace);
}

async function failure(
  cluster: Cluster,
  waiting: readonly ApiObject[],
  problems: readonly PodProblem[],
): Promise<MeshError> {
  const lines = [`not ready: ${waiting.map(describe).join(', ')}`];
  for (const { pod, node, text, crashed } of problems) {
    lines.push(`  ${pod} on ${node}: ${text}`);
    if (crashed === undefined) continue;
    const namespace = waiting[0]?.metadata.namespace ?? '';
    const object: ApiObject = { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod, namespace } };
    const log = (await cluster.logs(object, crashed, true)) || (await cluster.logs(object, crashed, false));
    lines.push(...log.split('\n').map((line) => `    | ${line}`));
  }
  if (problems.length === 0) lines.push('  no pod says why; look at: kubectl -n istio-system get pods,events');
  return new MeshError('ERR_TIMEOUT', lines.join('\n'));
}
