/**
 * Brings one pod into the mesh or out of it: rules, tunnel, probes and annotation, in the order that loses nothing.
 *
 * Invariants
 *  - A pod being created is captured before the tunnel is told; nothing of it ever leaves in clear.
 *  - A running pod is captured after the tunnel listens in it, and the tunnel goes after nothing new is captured and
 *    peers have been told; no connection fails in between.
 *  - `enabled` is written last, and taken back first: what peers believe of a pod is always true.
 *  - Every step may be repeated; a failed call is repeated as a whole.
 * Callers never run two calls for the same pod at a time.
 * Source: Istio node agent, add and remove sequences; where it breaks connections the order here differs.
 */
import type { Netns } from 'culvert-netns';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { KubeWriter } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { BackendName, Exclusions, RedirectBackend } from '../redirect/index.ts';
import { conditionPatch } from './capture-condition.ts';
import { type EnrolledPod, type EnrolledPods, toCaptured } from './enrolled-pods.ts';
import { BACKEND_ANNOTATION, keyText, POD, type Pod, podKey, REDIRECTION_ANNOTATION } from './pod.ts';
import type { WorkloadInfo } from './zds-codec.ts';
import type { ZdsPod } from './zds-server.ts';

/** What the data plane needs of the tunnel's server. */
export interface TunnelPort {
  readonly connections: number;
  add(pod: Required<ZdsPod>): Promise<void>;
  delete(uid: string): Promise<void>;
}

export interface ProbePort {
  add(uid: string, ips: readonly string[]): Promise<void>;
  remove(uid: string): Promise<void>;
}

export interface PodDataplaneDeps {
  readonly pods: EnrolledPods;
  readonly tunnel: TunnelPort;
  readonly probes: ProbePort;
  readonly writer: KubeWriter;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long peers get to learn that a pod has left before its listeners close. */
  readonly lingerMs: number;
  /** Looks for what is open in clear in a pod that is about to be captured. Must not throw. */
  readonly inspectClear: (pod: EnrolledPod) => void;
  /** Number of connections that the tunnel carries in the pod. */
  readonly tunnelled: (pod: EnrolledPod) => number;
}

/** A pod as it should be. `netns` is owned by whoever takes the request. */
export interface JoinRequest {
  readonly uid: string;
  readonly key: NamespacedName;
  readonly info: WorkloadInfo;
  readonly netns: Netns;
  readonly ips: readonly string[];
  readonly options: EnrolledPod['options'];
  readonly backend: RedirectBackend;
}

/** How often a pod that left is looked at until its captured connections have ended. */
const DRAIN_LOOK_MS = 2_000;

export class PodDataplane {
  readonly #deps: PodDataplaneDeps;

  constructor(deps: PodDataplaneDeps) {
    this.#deps = deps;
  }

  /**
   * A pod whose containers do not run yet. Rejects with ERR_REDIRECT, ERR_ZDS or, when the signal aborted, ERR_TIMEOUT;
   * the runtime then throws the namespace away, in which everything is refused and nothing is clear.
   */
  async start(request: JoinRequest, signal: AbortSignal): Promise<void> {
    const pod = this.#enter(request);
    try {
      await pod.backend.prepare(toCaptured(pod));
      await pod.backend.capture(toCaptured(pod));
      pod.capturing = true;
      await this.#acknowledge(pod);
      if (signal.aborted) throw new MeshError('ERR_TIMEOUT', 'the pod was captured too late');
      await this.#enabled(pod);
    } catch (error) {
      await this.#abandon(pod);
      throw error;
    }
  }

  /** A running pod, or one whose options or addresses changed. Rejects with ERR_REDIRECT or ERR_ZDS. */
  async join(request: JoinRequest): Promise<void> {
    const former = this.#deps.pods.get(request.uid)?.backend;
    const pod = this.#enter(request);
    await pod.backend.prepare(toCaptured(pod));
    await this.#acknowledge(pod);
    if (!pod.capturing) this.#deps.inspectClear(pod);
    await pod.backend.capture(toCaptured(pod));
    pod.capturing = true;
    // Released, not cleared: what it captured is still open, and the return path belongs to both.
    if (former !== undefined && former !== pod.backend) await former.release(toCaptured(pod));
    await this.#enabled(pod);
  }

  /** A pod that is captured already, as an agent before this one left it. Rejects with ERR_REDIRECT. */
  async adopt(request: JoinRequest, state: 'joining' | 'enrolled' | 'draining'): Promise<void> {
    const pod = this.#enter(request);
    pod.state = state;
    pod.capturing = state !== 'draining';
    if (!pod.capturing) return;
    await pod.backend.capture(toCaptured(pod));
    await this.#deps.probes.add(pod.uid, pod.ips);
  }

  /**
   * A running pod leaves, in steps: nothing new is captured and peers are told; after the linger the tunnel goes; `drain`
   * takes the rest. Rejects with ERR_REDIRECT or ERR_ZDS. Resolves with ms until it should be called again, 0 when all is
   * done. No call waits for the linger, so that the lingers of many pods overlap.
   */
  async leave(pod: EnrolledPod): Promise<number> {
    const { clock, tunnel, probes, log, lingerMs } = this.#deps;
    if (pod.state === 'draining') return await this.drain(pod);
    if (pod.state !== 'leaving') {
      const lingers = pod.state === 'enrolled' && tunnel.connections > 0;
      pod.capturing = false; // also when the release fails half-way: who wants the pod back captures it anew
      await pod.backend.release(toCaptured(pod));
      await this.annotate(pod.key, undefined);
      pod.state = 'leaving';
      pod.servedUntilMs = clock.monotonicMs() + (lingers ? lingerMs : 0);
    }
    const leftMs = pod.servedUntilMs - clock.monotonicMs();
    if (leftMs > 0) return Math.ceil(leftMs);
    await probes.remove(pod.uid);
    await tunnel.delete(pod.uid);
    pod.state = 'draining';
    log.info('pod left the mesh', { pod: keyText(pod.key) });
    return await this.drain(pod);
  }

  /** Takes the last rules out of a pod that left once no captured connection is open. Resolves with 0 when that is done. */
  async drain(pod: EnrolledPod): Promise<number> {
    if (this.#deps.tunnelled(pod) > 0) return DRAIN_LOOK_MS;
    await pod.backend.clear(toCaptured(pod));
    this.#deps.pods.drop(pod);
    return 0;
  }

  /** Takes everything out of a pod at once, whatever is open or fails; when the mesh leaves the node. Never rejects. */
  async abolish(pod: EnrolledPod): Promise<void> {
    const { tunnel, probes, pods, log } = this.#deps;
    const steps = [
      () => pod.backend.release(toCaptured(pod)),
      () => this.annotate(pod.key, undefined),
      () => tunnel.delete(pod.uid),
      () => probes.remove(pod.uid),
      () => pod.backend.clear(toCaptured(pod)),
    ];
    for (const step of steps) {
      await step().catch((error) =>
        log.warn('a pod keeps something of the mesh', { pod: keyText(pod.key), error: errorMessage(error) }),
      );
    }
    pods.drop(pod);
  }

  /** The pod has ended; its namespace goes with it. Rejects with ERR_REDIRECT or ERR_ZDS. */
  async remove(pod: EnrolledPod): Promise<void> {
    const { pods, tunnel, probes, log } = this.#deps;
    pod.state = 'gone';
    await probes.remove(pod.uid);
    await tunnel.delete(pod.uid);
    await pod.backend.forget(pod);
    pods.drop(pod);
    log.info('pod removed', { pod: keyText(pod.key) });
  }

  /** Writes what the control plane reads. A pod that is gone is no error. */
  async annotate(key: NamespacedName, value: 'enabled' | 'pending' | undefined, backend?: BackendName): Promise<void> {
    const patch = { [REDIRECTION_ANNOTATION]: value ?? null, [BACKEND_ANNOTATION]: backend ?? null };
    try {
      await this.#deps.writer.patchAnnotations(POD, key, patch);
    } catch (error) {
      if (!(error instanceof MeshError && error.code === 'ERR_NOT_FOUND')) throw error;
    }
  }

  /** Tells in the pod's status what is kept out of the mesh; reads the object first, so it costs nothing when it is told. */
  async tellExclusions(pod: Pod, exclusions: Exclusions | undefined): Promise<void> {
    const patch = conditionPatch(pod, exclusions, new Date(this.#deps.clock.nowMs()).toISOString());
    if (patch === undefined) return;
    try {
      await this.#deps.writer.patchStatus(POD, podKey(pod), patch);
    } catch (error) {
      if (!(error instanceof MeshError && error.code === 'ERR_NOT_FOUND')) throw error;
    }
  }

  #enter(request: JoinRequest): EnrolledPod {
    const known = this.#deps.pods.get(request.uid);
    const state = known?.state === 'enrolled' ? 'enrolled' : 'joining';
    return this.#deps.pods.put({ ...request, state, capturing: known?.capturing ?? false, servedUntilMs: 0 });
  }

  /** The tunnel listens in the pod when this resolves. */
  async #acknowledge(pod: EnrolledPod): Promise<void> {
    await this.#deps.probes.add(pod.uid, pod.ips);
    try {
      await this.#deps.tunnel.add(pod);
    } catch (error) {
      await this.#pending(pod);
      throw error;
    }
  }

  async #pending(pod: EnrolledPod): Promise<void> {
    try {
      await this.annotate(pod.key, 'pending', pod.capturing ? pod.backend.name : undefined);
    } catch (error) {
      this.#deps.log.warn('cannot annotate a pod', { pod: keyText(pod.key), error: errorMessage(error) });
    }
  }

  /** Forgets a namespace that no container will ever run in. */
  async #abandon(pod: EnrolledPod): Promise<void> {
    pod.state = 'gone';
    try {
      await this.remove(pod);
    } catch (error) {
      this.#deps.log.warn('a sandbox was not wholly forgotten', { pod: keyText(pod.key), error: errorMessage(error) });
      this.#deps.pods.drop(pod);
    }
  }

  async #enabled(pod: EnrolledPod): Promise<void> {
    await this.annotate(pod.key, 'enabled', pod.backend.name);
    const isNew = pod.state !== 'enrolled';
    pod.state = 'enrolled';
    if (isNew) this.#deps.log.info('pod joined the mesh', { pod: keyText(pod.key), backend: pod.backend.name });
  }
}
