/**
 * The node agent: watches pods and namespaces, answers the CNI plugin and the node's tunnels.
 *
 * Order of start: host rules, tunnel socket, plugin socket (calls wait), informers, what is already captured, then the
 * queue and the tunnels. At its end everything that is installed stays: running pods do not notice.
 * Source: Istio node agent, start order.
 */
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Informer, KubeSource, KubeWriter } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { IptablesVariant, RunCommand } from '../redirect/index.ts';
import type { AgentMetrics } from './agent-metrics.ts';
import type { BackendChoice } from './backend-choice.ts';
import { ClearWatch } from './clear-connections.ts';
import { ClearPolicies } from './clear-policies.ts';
import { EnrolledPods } from './enrolled-pods.ts';
import type { EnrolmentRules } from './enrolment.ts';
import { type HostProbePort, HostProbes } from './host-probes.ts';
import { IptablesHostProbes } from './iptables-host-probes.ts';
import { servePlugin } from './plugin-server.ts';
import { keyText, NAMESPACE, type Namespace, POD, type Pod, podIps, podKey } from './pod.ts';
import { PodDataplane } from './pod-dataplane.ts';
import type { CaptureDefaults } from './pod-options.ts';
import { PodReconciler } from './pod-reconciler.ts';
import type { ProcfsOptions } from './procfs.ts';
import { findTunnelProcesses, isTunnelPod } from './tunnel-processes.ts';
import { WorkQueue } from './work-queue.ts';
import { ZdsServer } from './zds-server.ts';

export interface NodeAgentConfig {
  readonly nodeName: string;
  readonly runDir: string;
  readonly zdsPath: string;
  readonly rules: EnrolmentRules;
  readonly defaults: CaptureDefaults;
  readonly procfs: ProcfsOptions;
  /** Prefix of the paths of namespaces that the plugin names, as the node sees them. */
  readonly hostMountsDir: string;
  readonly lingerMs: number;
  /** The iptables to use where iptables is used; undefined: Istio's choice. */
  readonly iptablesVariant?: IptablesVariant | undefined;
}

export interface NodeAgentDeps {
  readonly source: KubeSource;
  readonly writer: KubeWriter;
  readonly backends: BackendChoice;
  readonly run: RunCommand;
  readonly metrics: AgentMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

export const PLUGIN_SOCKET = 'pluginevent.sock';
/** Of a grace period of 30 s: pods leave in about one, what they have open may take longer. */
const LEAVE_ALL_MS = 10_000;
const LEAVE_LOOK_MS = 50;
const HOST_RULES_TRIES = 10;
const HOST_RULES_RETRY_MS = 2_000;
/** Pods worked on at the same time; each step waits for programs and for the tunnel, not for this process. */
const WORKERS = 8;

export interface NodeAgent extends AsyncDisposable {
  /**
   * Takes the mesh off the node: every pod leaves it as when its label goes, then rules, programs and pins are removed.
   * Connections that the tunnel carries get some seconds to end. Before dispose, and while the tunnel still runs.
   */
  uninstall(): Promise<void>;
}

/** Resolves when pods and tunnels are served. Rejects with ERR_SYSTEM or ERR_REDIRECT when it cannot. */
export async function startNodeAgent(
  config: NodeAgentConfig,
  deps: NodeAgentDeps,
  signal: AbortSignal,
): Promise<NodeAgent> {
  await using scope = new AsyncDisposableStack();
  const { source, backends, clock, log, metrics } = deps;
  const probes = hostProbes(config, deps);
  await installProbes(probes, deps, signal);

  const enrolled = scope.use(new EnrolledPods());
  const pods = source.informer<Pod>(POD, { nodeName: config.nodeName });
  const namespaces = source.informer<Namespace>(NAMESPACE);
  const policies = new ClearPolicies(source, pods, config.rules.systemNamespace);
  const clearWatch = new ClearWatch({
    log,
    judge: (pod) => policies.judge(pod),
    onFound: (_pod, counts) => metrics.clearFound(counts),
    onCut: (count) => metrics.clearCut(count),
  });
  const tunnel = scope.use(
    await ZdsServer.listen({
      path: config.zdsPath,
      clock,
      log: log.child('zds'),
      snapshot: () => enrolled.snapshot(),
      onTunnel: (pid) => backends.tunnelsConnected(pid > 0 ? [pid] : findTunnels(config, pods)),
      onConnections: (count) => metrics.tunnels(count),
      onSnapshotAnswer: (uid, error) => {
        const entry = enrolled.get(uid);
        if (error === '' && entry && entry.state !== 'enrolled') queue.add(keyText(entry.key));
      },
    }),
  );
  const dataplane = new PodDataplane({
    pods: enrolled,
    tunnel,
    probes,
    writer: deps.writer,
    clock,
    log,
    lingerMs: config.lingerMs,
    inspectClear: (pod) => clearWatch.report(pod),
    tunnelled: (pod) => clearWatch.tunnelled(pod),
  });
  const reconciler = new PodReconciler({
    ...{ pods, namespaces, enrolled, dataplane, backends, clearWatch, metrics, clock, log },
    ...{ rules: config.rules, defaults: config.defaults, procfs: config.procfs },
    hostMountsDir: config.hostMountsDir,
  });
  const queue = scope.use(
    new WorkQueue({ clock, log, workers: WORKERS }, async (name) => {
      const again = await reconciler.reconcile(parseKey(name));
      metrics.captured(countByBackend(enrolled));
      return again;
    }),
  );

  const started = Promise.withResolvers<void>();
  scope.use(
    await servePlugin({
      path: join(config.runDir, PLUGIN_SOCKET),
      log: log.child('plugin'),
      onAnswer(status, seconds) {
        metrics.pluginAnswered(status);
        metrics.addTook(seconds);
      },
      onAdd: async (request, deadline) => {
        await started.promise;
        await queue.exclusively(keyText(request), () => reconciler.admit(request, deadline));
        metrics.captured(countByBackend(enrolled));
      },
    }),
  );
  await Promise.race([Promise.all([pods.synced, namespaces.synced, policies.synced]), aborted(signal)]);
  await reconciler.adoptAll();
  // A kubelet that just started has told no addresses yet: what such a pod has stays.
  const unaddressed = new Set(pods.list().flatMap((pod) => (podIps(pod).length === 0 ? [pod.metadata.uid] : [])));
  await probes.settle((uid) => enrolled.get(uid) !== undefined || unaddressed.has(uid));
  started.resolve();

  scope.use(pods.subscribe((key) => queue.add(keyText(key))));
  scope.use(
    namespaces.subscribe(({ name }) => {
      for (const pod of pods.list(name)) queue.add(keyText(podKey(pod)));
    }),
  );
  scope.use(
    policies.subscribe(() => {
      for (const { key } of enrolled.all()) queue.add(keyText(key));
    }),
  );
  for (const { key } of enrolled.all()) queue.add(keyText(key)); // also those whose object went while no agent ran
  tunnel.serve();
  log.info('node agent ready', {
    node: config.nodeName,
    backend: backends.preferred,
    takenOver: enrolled.all().length,
  });

  const owned = scope.move();
  return {
    async uninstall() {
      reconciler.disband();
      for (const { key } of enrolled.all()) queue.add(keyText(key));
      await allGone(enrolled, clock);
      await queue[Symbol.asyncDispose]();
      for (const pod of enrolled.all()) await dataplane.abolish(pod);
      await probes.uninstall();
      await backends.uninstall();
      log.info('the node is out of the mesh');
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Resolves when no pod is left, or after what is left of a grace period allows. */
async function allGone(enrolled: EnrolledPods, clock: Clock): Promise<void> {
  const endMs = clock.monotonicMs() + LEAVE_ALL_MS;
  while (enrolled.all().length > 0 && clock.monotonicMs() < endMs) await clock.sleep(LEAVE_LOOK_MS);
}

/** The kernel gives no pid of a process that this one's PID namespace does not show. */
function findTunnels({ procfs: { procDir }, rules: { systemNamespace } }: NodeAgentConfig, pods: Informer<Pod>) {
  const tunnels = pods.list().filter((pod) => isTunnelPod(pod, systemNamespace));
  return findTunnelProcesses(procDir, new Set(tunnels.map(({ metadata }) => metadata.uid ?? '')));
}

/** By nftables, but not on a node that has to capture by iptables. */
function hostProbes({ defaults: { ipv6 }, iptablesVariant }: NodeAgentConfig, deps: NodeAgentDeps): HostProbePort {
  const { run, log } = deps;
  if (deps.backends.preferred !== 'iptables') return new HostProbes(run, log);
  return new IptablesHostProbes({ run, log, ipv6, ...(iptablesVariant ? { force: iptablesVariant } : {}) });
}

async function installProbes(probes: HostProbePort, { clock, log }: NodeAgentDeps, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await probes.install();
    } catch (error) {
      if (attempt >= HOST_RULES_TRIES) throw error;
      log.warn('host rules cannot be made yet', { attempt, error: errorMessage(error) });
      await clock.sleep(HOST_RULES_RETRY_MS, signal);
    }
  }
}

function countByBackend(enrolled: EnrolledPods): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { capturing, backend } of enrolled.all()) {
    if (capturing) counts.set(backend.name, (counts.get(backend.name) ?? 0) + 1);
  }
  return counts;
}

function parseKey(text: string): NamespacedName {
  const slash = text.indexOf('/');
  return { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = (): void => reject(new MeshError('ERR_ABORTED', 'the agent was stopped while it started'));
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { once: true });
  });
}
