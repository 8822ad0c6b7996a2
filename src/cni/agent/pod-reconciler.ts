/**
 * Brings every pod of the node to what labels and annotations ask for. Reads levels, never events: each run looks at the
 * pod's object, at what the agent holds of it and, now and then, at what is really in its namespace.
 */
import { isDeepStrictEqual } from 'node:util';
import { Netns } from 'culvert-netns';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Informer } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import type { BackendChoice } from './backend-choice.ts';
import type { ClearWatch } from './clear-connections.ts';
import type { CmdAddRequest } from './cmdadd-request.ts';
import { type EnrolledPod, type EnrolledPods, toCaptured } from './enrolled-pods.ts';
import { decideEnrolment, type EnrolmentRules } from './enrolment.ts';
import {
  BACKEND_ANNOTATION,
  isTerminal,
  keyText,
  type Namespace,
  type Pod,
  podIps,
  podKey,
  REDIRECTION_ANNOTATION,
  serviceAccountOf,
} from './pod.ts';
import type { JoinRequest, PodDataplane } from './pod-dataplane.ts';
import { type CaptureDefaults, readPodOptions } from './pod-options.ts';
import { carriesAny, openPodNetns, type ProcfsOptions, scanProcfs } from './procfs.ts';

export interface PodReconcilerDeps {
  readonly pods: Informer<Pod>;
  readonly namespaces: Informer<Namespace>;
  readonly enrolled: EnrolledPods;
  readonly dataplane: PodDataplane;
  readonly backends: BackendChoice;
  readonly clearWatch: ClearWatch;
  readonly rules: EnrolmentRules;
  readonly defaults: CaptureDefaults;
  readonly procfs: ProcfsOptions;
  readonly hostMountsDir: string;
  readonly metrics: Pick<AgentMetrics, 'reconciled'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often what is in a namespace is compared with what should be. */
const INSPECT_INTERVAL_MS = 15_000;
/** A running pod whose namespace is not seen yet: its first process is about to start, or it is about to end. */
const NETNS_RETRY_MS = 500;
/** Wait for an informer that lags behind the kubelet. */
const UNKNOWN_POD_TRIES = 10;
const UNKNOWN_POD_WAIT_MS = 10;

export class PodReconciler {
  readonly #deps: PodReconcilerDeps;
  readonly #inspectedAtMs = new Map<string, number>();
  #scan: Promise<ReturnType<typeof scanProcfs>> | undefined;
  #disbanded = false;

  constructor(deps: PodReconcilerDeps) {
    this.#deps = deps;
  }

  /** From now on no pod is wanted: those of the mesh leave when they are looked at, new ones start outside of it. */
  disband(): void {
    this.#disbanded = true;
  }

  /** One pod by its name. Resolves with ms until it wants to be looked at again. */
  async reconcile(key: NamespacedName): Promise<number | undefined> {
    const { enrolled, dataplane, metrics, pods } = this.#deps;
    const pod = pods.get(key);
    const uid = pod?.metadata.uid;
    const hasEnded = pod === undefined || isTerminal(pod);
    for (const former of enrolled.named(key).filter((entry) => hasEnded || entry.uid !== uid)) {
      await dataplane.remove(former);
      this.#inspectedAtMs.delete(former.uid);
      metrics.reconciled('delete');
    }
    if (hasEnded || uid === undefined) return undefined;
    if (this.#isWanted(pod)) return await this.#ensure(pod, uid);
    await dataplane.tellExclusions(pod, undefined);
    const entry = enrolled.get(uid);
    if (entry !== undefined) return (await this.#leave(entry)) || undefined;
    if (annotation(pod, REDIRECTION_ANNOTATION) !== undefined) await dataplane.annotate(key, undefined);
    return undefined;
  }

  /**
   * The plugin asks for a pod that is being made. Resolves when it may start: it is captured, or not to be. Rejects with
   * ERR_NOT_FOUND for a pod that the API does not know here, ERR_MALFORMED when the namespace is not the pod's.
   */
  async admit({ namespace, name, netns: path, ips }: CmdAddRequest, signal: AbortSignal): Promise<void> {
    const pod = await this.#knownPod({ namespace, name });
    if (signal.aborted) throw new MeshError('ERR_TIMEOUT', 'the call was given up before its turn came');
    const uid = pod.metadata.uid;
    if (uid === undefined || !this.#isWanted(pod)) return;
    const netns = openGiven(this.#deps.hostMountsDir + path);
    if (!carriesAny(netns, ips)) {
      netns[Symbol.dispose]();
      throw new MeshError('ERR_MALFORMED', `${path} has none of the pod's addresses`);
    }
    const request = await this.#owned(netns, () => this.#request(pod, uid, { netns, ips }));
    await this.#deps.dataplane.start(request, signal);
    this.#deps.metrics.reconciled('add');
  }

  /** At start: takes over the pods that an agent before this one captured. Never rejects. */
  async adoptAll(): Promise<void> {
    const found = scanProcfs(this.#deps.procfs);
    for (const pod of this.#deps.pods.list()) {
      const uid = pod.metadata.uid ?? '';
      const ips = podIps(pod);
      if (isTerminal(pod) || pod.spec?.hostNetwork || ips.length === 0) continue;
      const netns = openPodNetns(found.get(uid) ?? [], ips);
      if (netns === undefined) continue;
      try {
        await this.#adopt(pod, uid, { netns, ips });
      } catch (error) {
        const hint = 'restart the pod, or take it out of the mesh and in again';
        this.#deps.log.error('a captured pod cannot be taken over', {
          pod: keyText(podKey(pod)),
          error: errorMessage(error),
          hint,
        });
      }
    }
  }

  async #adopt(pod: Pod, uid: string, place: { netns: Netns; ips: readonly string[] }): Promise<void> {
    const { backends, dataplane, log } = this.#deps;
    const named = annotation(pod, BACKEND_ANNOTATION);
    const backend = (named && (await backends.find(named))) || (await backends.find(backends.preferred));
    if (backend === undefined) return place.netns[Symbol.dispose]();
    const [request, state] = await this.#owned(place.netns, async () => {
      const asked = { ...(await this.#request(pod, uid, place)), backend };
      return [asked, await backend.inspect(asked)] as const;
    });
    if (state === 'absent') return place.netns[Symbol.dispose]();
    const wasEnabled = annotation(pod, REDIRECTION_ANNOTATION) === 'enabled';
    await dataplane.adopt(request, state === 'draining' ? 'draining' : wasEnabled ? 'enrolled' : 'joining');
    log.info('pod taken over', { pod: keyText(request.key), backend: backend.name, state });
  }

  async #leave(entry: EnrolledPod): Promise<number> {
    if (entry.state !== 'leaving' && entry.state !== 'draining') this.#deps.metrics.reconciled('update');
    return await this.#deps.dataplane.leave(entry);
  }

  async #ensure(pod: Pod, uid: string): Promise<number | undefined> {
    const { enrolled, dataplane, metrics, clearWatch, log } = this.#deps;
    const entry = enrolled.get(uid);
    const ips = podIps(pod);
    const knownIps = ips.length > 0 ? ips : (entry?.ips ?? []);
    if (knownIps.length === 0) return undefined;
    const netns = entry?.netns ?? (await this.#findNetns(uid, knownIps));
    if (netns === undefined) return NETNS_RETRY_MS;
    const asked = () => this.#request(pod, uid, { netns, ips: knownIps });
    const request = entry ? await asked() : await this.#owned(netns, asked);
    if (!entry || !isSame(entry, request, pod) || !(await this.#isInForce(entry))) {
      await dataplane.join(request);
      metrics.reconciled('update');
      log.debug('pod reconciled', { pod: keyText(request.key) });
    }
    await dataplane.tellExclusions(pod, request.options.exclusions);
    const now = enrolled.get(uid);
    if (now) clearWatch.enforce(now);
    return INSPECT_INTERVAL_MS;
  }

  /** Whether the namespace still captures; looked at once in a while. */
  async #isInForce(entry: EnrolledPod): Promise<boolean> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - (this.#inspectedAtMs.get(entry.uid) ?? 0) < INSPECT_INTERVAL_MS) return true;
    this.#inspectedAtMs.set(entry.uid, nowMs);
    const state = await entry.backend.inspect(toCaptured(entry));
    if (state === 'capturing') return true;
    entry.capturing = false;
    this.#deps.log.warn('capture of a pod was lost and is set up again', { pod: keyText(entry.key), state });
    return false;
  }

  #isWanted(pod: Pod): boolean {
    const { namespaces, rules } = this.#deps;
    if (this.#disbanded) return false;
    const { namespace } = podKey(pod);
    return decideEnrolment(pod, namespaces.get({ namespace: '', name: namespace }), rules).wanted;
  }

  async #request(
    pod: Pod,
    uid: string,
    { netns, ips }: { readonly netns: Netns; readonly ips: readonly string[] },
  ): Promise<JoinRequest> {
    const { capture, backend: wish, drainMs, problems } = readPodOptions(pod, this.#deps.defaults);
    const key = podKey(pod);
    if (problems.length > 0) this.#deps.log.warn('annotations of a pod are ignored', { pod: keyText(key), problems });
    const backend = await this.#deps.backends.choose(capture, wish);
    const info = { ...key, serviceAccount: serviceAccountOf(pod), ...(drainMs === undefined ? {} : { drainMs }) };
    return { uid, key, info, netns, ips, options: capture, backend };
  }

  /** Closes the handle when what it was opened for fails. */
  async #owned<T>(netns: Netns, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      netns[Symbol.dispose]();
      throw error;
    }
  }

  async #findNetns(uid: string, ips: readonly string[]): Promise<Netns | undefined> {
    // Pods that are looked for at the same time share one pass over the processes.
    this.#scan ??= Promise.resolve().then(() => {
      this.#scan = undefined;
      return scanProcfs(this.#deps.procfs);
    });
    return openPodNetns((await this.#scan).get(uid) ?? [], ips);
  }

  async #knownPod(key: NamespacedName): Promise<Pod> {
    const { pods, clock } = this.#deps;
    for (let attempt = 0; attempt < UNKNOWN_POD_TRIES; attempt++) {
      const pod = pods.get(key);
      if (pod !== undefined) return pod;
      await clock.sleep(UNKNOWN_POD_WAIT_MS);
    }
    throw new MeshError('ERR_NOT_FOUND', `no pod ${keyText(key)} on this node`);
  }
}

function annotation({ metadata }: Pod, name: string): string | undefined {
  return metadata.annotations?.[name];
}

function isSame(entry: EnrolledPod, request: JoinRequest, pod: Pod): boolean {
  return (
    entry.state === 'enrolled' &&
    entry.capturing &&
    entry.backend === request.backend &&
    annotation(pod, REDIRECTION_ANNOTATION) === 'enabled' &&
    isDeepStrictEqual(entry.options, request.options) &&
    isDeepStrictEqual([...entry.ips].sort(), [...request.ips].sort()) &&
    isDeepStrictEqual(entry.info, request.info)
  );
}

function openGiven(path: string): Netns {
  try {
    return Netns.open(path);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', `${path} is no network namespace`, { cause });
  }
}
