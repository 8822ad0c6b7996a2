/**
 * Runs one pod from its sandbox to its end: sandbox by the CNI chain (tried again as long as it is refused), containers
 * restarted by the pod's policy, readiness by probes from the node, status after every change, orderly end.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Netns } from 'culvert-netns';
import type { Clock } from '../core/clock.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { removeCgroup } from './cgroup.ts';
import type { CniChain } from './cni-chain.ts';
import { containerEnv } from './container-env.ts';
import { ContainerProcess, containerCgroup, podCgroup, resolvConfText } from './container-process.ts';
import { type Container, findPort, type Pod, type PodStatus } from './kinds.ts';
import { createSandbox, removeSandbox, type Sandbox } from './pod-sandbox.ts';
import { type ContainerFacts, podStatus } from './pod-status.ts';
import { httpRequest, probeTcp } from './probe.ts';
import { RestartDelay } from './restart-delay.ts';

/** What a worker needs from its node. */
export interface WorkerDeps {
  readonly chain: CniChain;
  readonly clock: Clock;
  readonly log: Logger;
  /** The node's namespace: probes come from there. */
  readonly nodeNetns: Netns;
  readonly nodeIp: string;
  /** Absolute cgroup2 folder of the node. */
  readonly nodeCgroup: string;
  readonly nameservers: readonly string[];
  readonly logDir: string;
  readonly tempDir: string;
  /** Environment every container starts from. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** Issues a token of the pod's account, for pods that speak to the control plane; the file of it. */
  readonly tokens?: (pod: Pod) => Promise<string | undefined>;
  readonly revokeTokens?: (podUid: string) => Promise<void>;
  netnsOf(podUid: string): string;
  writeStatus(pod: Pod, status: PodStatus): Promise<void>;
}

const SANDBOX_RETRY_FIRST_MS = 200;
const SANDBOX_RETRY_LAST_MS = 2_000;
const DEFAULT_GRACE_SECONDS = 30;
/** Until a container has been ready once it is asked often, so that start-up is quick. */
const STARTUP_PERIOD_MS = 50;
const DEFAULT_PERIOD_SECONDS = 10;
const DEFAULT_PROBE_TIMEOUT_SECONDS = 1;
const DEFAULT_FAILURE_THRESHOLD = 3;

interface ContainerState {
  process?: ContainerProcess;
  facts: ContainerFacts;
}

export class PodWorker {
  readonly #pod: Pod;
  readonly #deps: WorkerDeps;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  readonly #containers = new Map<string, ContainerState>();
  readonly #done: Promise<void>;
  #latest: Pod;
  #sandbox: Sandbox | undefined;
  #waiting: string | undefined;
  #stopped: Promise<void> | undefined;

  constructor(pod: Pod, deps: WorkerDeps) {
    this.#pod = pod;
    this.#latest = pod;
    this.#deps = deps;
    this.#log = deps.log.child('pod', { pod: pod.metadata.name, namespace: pod.metadata.namespace });
    this.#done = this.#run().catch((error: unknown) => {
      if (!this.#abort.signal.aborted) this.#log.error('pod failed', { error: errorMessage(error) });
    });
  }

  /** The pod as it is now in the API: its status is compared before it is written. */
  update(pod: Pod): void {
    this.#latest = pod;
  }

  /** Ends containers and sandbox; resolves when nothing is left. `graceMs` overrides the pod's own. */
  stop(graceMs?: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const sandbox = await this.#makeSandbox(signal);
    await this.#report();
    const resolvConf = join(this.#deps.tempDir, `${this.#uid}.resolv.conf`);
    await writeFile(resolvConf, resolvConfText(this.#pod.metadata.namespace ?? 'default', this.#deps.nameservers));
    const containers = this.#pod.spec?.containers ?? [];
    await Promise.all(containers.map((container) => this.#keepRunning(container, sandbox, resolvConf, signal)));
  }

  async #makeSandbox(signal: AbortSignal): Promise<Sandbox> {
    for (let delayMs = SANDBOX_RETRY_FIRST_MS; ; delayMs = Math.min(SANDBOX_RETRY_LAST_MS, delayMs * 2)) {
      signal.throwIfAborted();
      try {
        const sandbox = await createSandbox(this.#pod, this.#deps.netnsOf(this.#uid), this.#deps.chain, this.#log);
        this.#waiting = undefined;
        this.#sandbox = sandbox;
        return sandbox;
      } catch (error) {
        this.#waiting = errorMessage(error);
        this.#log.warn('no sandbox for the pod, trying again', { error: this.#waiting });
        await this.#report();
        await this.#deps.clock.sleep(delayMs, signal);
      }
    }
  }

  async #keepRunning(container: Container, sandbox: Sandbox, resolvConf: string, signal: AbortSignal): Promise<void> {
    const delay = new RestartDelay();
    const policy = this.#pod.spec?.restartPolicy ?? 'Always';
    for (let restarts = 0; !signal.aborted; restarts++) {
      const startedMs = this.#deps.clock.monotonicMs();
      const process = await this.#start(container, sandbox, resolvConf);
      const state: ContainerState = { process, facts: { name: container.name, running: true, ready: false, restarts } };
      this.#containers.set(container.name, state);
      if (signal.aborted) return void (await process.stop(0)); // the end came while it started
      const probing = new AbortController();
      const probes = this.#probe(container, state, AbortSignal.any([signal, probing.signal]));
      const exitCode = await process.exited;
      probing.abort();
      await probes;
      if (signal.aborted) return;
      await process.clear();
      state.facts = { ...state.facts, running: false, ready: false, exitCode };
      this.#log.warn('container ended', { container: container.name, exitCode, restarts });
      await this.#report();
      if (policy === 'Never' || (policy === 'OnFailure' && exitCode === 0)) return;
      await this.#deps.clock.sleep(delay.afterRun(this.#deps.clock.monotonicMs() - startedMs), signal);
    }
  }

  async #start(container: Container, sandbox: Sandbox, resolvConf: string): Promise<ContainerProcess> {
    const { metadata } = this.#pod;
    const containerId = randomBytes(32).toString('hex');
    const own = containerEnv(this.#pod, container, sandbox.ips);
    const token = await this.#deps.tokens?.(this.#pod);
    return await ContainerProcess.start({
      netns: sandbox.netns,
      cgroup: containerCgroup(this.#deps.nodeCgroup, this.#uid, containerId),
      resolvConf,
      hostname: metadata.name,
      command: [...(container.command ?? []), ...(container.args ?? [])],
      cwd: container.workingDir ?? '/',
      env: {
        ...this.#deps.baseEnv,
        HOSTNAME: metadata.name,
        ...own,
        ...(token === undefined ? {} : { AUTH_TOKEN: token }),
      },
      logFile: join(this.#deps.logDir, `${metadata.namespace}_${metadata.name}_${container.name}.log`),
    });
  }

  async #probe(container: Container, state: ContainerState, signal: AbortSignal): Promise<void> {
    const probe = container.readinessProbe;
    if (!probe) return await this.#setReady(state, true);
    const threshold = probe.failureThreshold ?? DEFAULT_FAILURE_THRESHOLD;
    let everReady = false;
    for (let failures = 0; !signal.aborted; ) {
      const ok = await this.#isAnswering(container, signal);
      if (signal.aborted) return;
      failures = ok ? 0 : failures + 1;
      if (ok) await this.#setReady(state, true);
      else if (failures >= threshold) await this.#setReady(state, false);
      everReady ||= ok;
      const periodMs = everReady ? (probe.periodSeconds ?? DEFAULT_PERIOD_SECONDS) * 1_000 : STARTUP_PERIOD_MS;
      await this.#deps.clock.sleep(periodMs, signal).catch(() => {});
    }
  }

  async #isAnswering({ readinessProbe: probe }: Container, _signal: AbortSignal): Promise<boolean> {
    const ip = this.#sandbox?.ips[0];
    const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port;
    const number = port === undefined ? undefined : findPort(this.#pod, port);
    if (probe === undefined || ip === undefined || number === undefined) return false;
    const timeoutMs = (probe.timeoutSeconds ?? DEFAULT_PROBE_TIMEOUT_SECONDS) * 1_000;
    try {
      const to = { ip, port: number };
      if (!probe.httpGet) {
        await probeTcp(this.#deps.nodeNetns, to, timeoutMs);
        return true;
      }
      const answer = await httpRequest(this.#deps.nodeNetns, to, probe.httpGet.path ?? '/', { timeoutMs });
      return answer.status >= 200 && answer.status < 400;
    } catch {
      return false;
    }
  }

  async #setReady(state: ContainerState, ready: boolean): Promise<void> {
    if (state.facts.ready === ready) return;
    state.facts = { ...state.facts, ready };
    await this.#report();
  }

  async #report(): Promise<void> {
    const facts = {
      hostIp: this.#deps.nodeIp,
      ips: this.#sandbox?.ips ?? [],
      ...(this.#sandbox ? { containerId: this.#sandbox.containerId } : {}),
      containers: [...this.#containers.values()].map((state) => state.facts),
      ...(this.#waiting === undefined ? {} : { waiting: this.#waiting }),
    };
    const now = new Date(this.#deps.clock.nowMs()).toISOString();
    try {
      await this.#deps.writeStatus(this.#latest, podStatus(this.#latest, facts, now));
    } catch (error) {
      const gone = error instanceof MeshError && error.code === 'ERR_NOT_FOUND';
      if (!gone) this.#log.warn('cannot write the status of a pod', { error: errorMessage(error) });
    }
  }

  async #stop(graceMs?: number): Promise<void> {
    const { spec } = this.#pod;
    const limitMs = graceMs ?? (spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS) * 1_000;
    const pause =
      Math.max(0, ...(spec?.containers ?? []).map((c) => c.lifecycle?.preStop?.sleep?.seconds ?? 0)) * 1_000;
    if (pause > 0 && this.#containers.size > 0) await this.#deps.clock.sleep(Math.min(pause, limitMs));
    this.#abort.abort();
    await Promise.all([...this.#containers.values()].map(({ process }) => process?.stop(limitMs)));
    await this.#done;
    await removeCgroup(podCgroup(this.#deps.nodeCgroup, this.#uid));
    await this.#deps.revokeTokens?.(this.#uid);
    if (this.#sandbox) await removeSandbox(this.#sandbox, this.#deps.chain, this.#log);
  }

  get #uid(): string {
    return this.#pod.metadata.uid ?? `${this.#pod.metadata.namespace}.${this.#pod.metadata.name}`;
  }
}
