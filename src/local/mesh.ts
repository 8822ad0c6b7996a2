/**
 * The mesh's programs in a local cluster: the controller beside the fabric's gateway, on every node an agent and a
 * tunnel in the node's namespace. Each is kept running; a pod object stands for it, as a DaemonSet's would.
 */
import { randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Netns } from 'culvert-netns';
import type { Clock } from '../core/clock.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { ClusterApi } from './cluster-api.ts';
import {
  type ClusterPlan,
  CONTROL_PLANE_PORT,
  holdFile,
  type NodePlan,
  netnsPath,
  SYSTEM_NAMESPACE,
} from './cluster-plan.ts';
import { Component, type ComponentState } from './component.ts';
import { resolvConfText } from './container-process.ts';
import { POD, type Pod, SERVICE, type Service } from './kinds.ts';
import { MIRROR_ANNOTATION } from './kubelet.ts';
import {
  agentEnv,
  type ComponentEnv,
  controllerEnv,
  meshSecrets,
  tunnelEnv,
  tunnelTokenFile,
} from './mesh-environment.ts';
import { httpRequest } from './probe.ts';
import { SYSTEM_PATH } from './process-runner.ts';

export interface MeshOptions {
  readonly plan: ClusterPlan;
  readonly clock: Clock;
  readonly log: Logger;
  readonly cgroup2: string;
  /** How the supervisor runs the mesh's programs: the program and its first arguments. */
  readonly program: readonly string[];
  /** Capture back-end asked of the agents. */
  readonly redirect: string;
  readonly onComponents: (components: readonly ComponentState[]) => Promise<void>;
}

export type RunningMesh = AsyncDisposable;

const READY_TIMEOUT_MS = 40_000;
const READY_POLL_MS = 40;
const STOP_GRACE_MS = 5_000;

interface Place {
  readonly name: string;
  readonly netns: string;
  readonly cgroup: string;
  readonly command: string;
  readonly env: ComponentEnv;
}

/** Starts the mesh; resolves when every program says that it is ready. Disposing ends them all. */
export async function startMesh(options: MeshOptions, api: ClusterApi, signal: AbortSignal): Promise<RunningMesh> {
  const { plan, onComponents, log } = options;
  await writeTokens(plan);
  await writeSystemPods(plan, api);
  const resolvConf = join(plan.secretDir, 'resolv.conf');
  await writeFile(resolvConf, resolvConfText(SYSTEM_NAMESPACE, [plan.dnsIp4]));
  await writeFile(`${resolvConf}.fabric`, resolvConfText(SYSTEM_NAMESPACE, [plan.gateway4]));
  const components: Component[] = [];
  const report = (): void => {
    onComponents(components.map(({ state }) => state)).catch((error: unknown) =>
      log.warn('cannot write the state of the cluster', { error: errorMessage(error) }),
    );
  };
  const start = (place: Place): void => {
    const spec = componentSpec(options, place, place.netns === plan.fabricNetns ? `${resolvConf}.fabric` : resolvConf);
    components.push(new Component(spec, { clock: options.clock, log, onChange: report }));
  };
  const mesh: RunningMesh = {
    async [Symbol.asyncDispose]() {
      await Promise.all(components.map((component) => component.stop(STOP_GRACE_MS)));
    },
  };
  try {
    start(controllerPlace(options));
    const { rootCert } = meshSecrets(plan);
    await until(options, signal, 'the controller made its root certificate', async () => await access(rootCert));
    for (const node of plan.nodes) for (const place of nodePlaces(options, node)) start(place);
    await Promise.all(plan.nodes.map((node) => nodeReady(options, node, signal)));
    return mesh;
  } catch (error) {
    await mesh[Symbol.asyncDispose]();
    throw error;
  }
}

function controllerPlace({ plan, cgroup2 }: MeshOptions): Place {
  return {
    name: 'controller',
    netns: plan.fabricNetns,
    cgroup: join(cgroup2, plan.prefix, 'control-plane/controller'),
    command: 'controller',
    env: controllerEnv(plan),
  };
}

function nodePlaces({ plan, cgroup2, redirect }: MeshOptions, node: NodePlan): readonly Place[] {
  const system = join(cgroup2, node.cgroup, 'system');
  return [
    {
      name: `cni/${node.name}`,
      netns: node.netns,
      cgroup: join(system, 'cni'),
      command: 'cni',
      env: agentEnv(plan, node, { cgroup2, redirect }),
    },
    {
      name: `ztunnel/${node.name}`,
      netns: node.netns,
      cgroup: join(system, 'ztunnel'),
      command: 'ztunnel',
      env: tunnelEnv(plan, node),
    },
  ];
}

function componentSpec({ plan, program }: MeshOptions, place: Place, resolvConf: string) {
  return {
    name: place.name,
    holdFile: holdFile(plan, place.name),
    netns: place.netns,
    cgroup: place.cgroup,
    resolvConf,
    hostname: place.name.replace('/', '-'),
    command: [...program, place.command],
    cwd: '/',
    env: { PATH: SYSTEM_PATH, ...place.env },
    logFile: join(plan.logDir, `${place.name.replace('/', '-')}.log`),
  };
}

/** The agent's and the tunnel's own readiness, asked as a kubelet does. */
async function nodeReady(options: MeshOptions, node: NodePlan, signal: AbortSignal): Promise<void> {
  using netns = Netns.open(netnsPath(node.netns));
  for (const [name, port, path] of [
    ['agent', 8_000, '/readyz'],
    ['tunnel', 15_021, '/healthz/ready'],
  ] as const) {
    await until(options, signal, `the ${name} of ${node.name} is ready`, async () => {
      const { status } = await httpRequest(netns, { ip: '127.0.0.1', port }, path, { timeoutMs: 1_000 });
      if (status !== 200) throw new Error(`answered ${status}`);
    });
  }
}

async function until(
  { clock }: MeshOptions,
  signal: AbortSignal,
  what: string,
  look: () => Promise<void>,
): Promise<void> {
  const deadline = clock.monotonicMs() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      return await look();
    } catch (cause) {
      if (clock.monotonicMs() > deadline) {
        throw new MeshError('ERR_TIMEOUT', `not within ${READY_TIMEOUT_MS} ms: ${what}: ${errorMessage(cause)}`, {
          cause,
        });
      }
      await clock.sleep(READY_POLL_MS, signal);
    }
  }
}

/** One token per tunnel; each names its node's pod, as a bound service account token does. */
async function writeTokens(plan: ClusterPlan): Promise<void> {
  const { tokensFile, caDir } = meshSecrets(plan);
  await mkdir(caDir, { recursive: true, mode: 0o700 });
  const rows: string[] = [];
  for (const node of plan.nodes) {
    const token = randomBytes(32).toString('base64url');
    const { name, uid } = systemPod(node, 'ztunnel').metadata;
    await writeFile(tunnelTokenFile(plan, node), token, { mode: 0o600 });
    const user = `system:serviceaccount:${SYSTEM_NAMESPACE}:ztunnel`;
    rows.push(`${token},${user},${uid},"system:serviceaccounts",${name},${uid}`);
  }
  await writeFile(tokensFile, `${rows.join('\n')}\n`, { mode: 0o600 });
}

async function writeSystemPods(plan: ClusterPlan, api: ClusterApi): Promise<void> {
  for (const node of plan.nodes) {
    for (const app of ['ztunnel', 'istio-cni-node']) await api.apply(POD, systemPod(node, app));
  }
  await api.apply(SERVICE, controlPlaneService(plan));
}

/** Gives the control plane its name in DNS. It is no pod, so there is no selector; see the service proxy. */
function controlPlaneService(plan: ClusterPlan): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'istiod', namespace: SYSTEM_NAMESPACE, uid: 'istiod' },
    spec: {
      clusterIP: plan.controlPlaneIp4,
      clusterIPs: [plan.controlPlaneIp4],
      ports: [{ name: 'https-dns', port: CONTROL_PLANE_PORT }],
    },
  };
}

function systemPod(node: NodePlan, app: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${app}-${node.name}`,
      namespace: SYSTEM_NAMESPACE,
      uid: `${app}-${node.name}`,
      labels: { app, 'istio.io/dataplane-mode': 'none' },
      annotations: { [MIRROR_ANNOTATION]: 'local' },
    },
    spec: { nodeName: node.name, hostNetwork: true, serviceAccountName: app === 'ztunnel' ? 'ztunnel' : 'istio-cni' },
    status: {
      phase: 'Running',
      podIP: node.ipv4,
      podIPs: [{ ip: node.ipv4 }, { ip: node.ipv6 }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}
