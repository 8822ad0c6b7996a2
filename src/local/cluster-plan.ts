/**
 * Names, addresses and folders of a local cluster, all derived from its name, its state folder and the number of nodes.
 *
 * Invariants
 *  - Every namespace, cgroup folder and pin folder of a cluster starts with `culvert.<cluster>`; the next character is a
 *    dot, a plus or the end, and a cluster's name has none of them, so that one cluster's names are never a prefix of
 *    another's. The plus starts a mark of the state folder: clusters of one name in two places are two clusters.
 *  - Addresses live inside the cluster's own namespaces. Two clusters use the same ones without seeing each other.
 */
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { MeshError } from '../core/errors.ts';

export interface NodePlan {
  readonly name: string;
  /** From 1. */
  readonly index: number;
  /** Name of the node's network namespace. */
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly podCidr4: string;
  readonly podCidr6: string;
  /** The node's private folder: CNI configuration and binaries, run folders with sockets. */
  readonly dir: string;
  /** `<cluster>/<node>` below the cgroup2 mount. */
  readonly cgroup: string;
}

export interface ClusterPlan {
  readonly name: string;
  readonly stateDir: string;
  /** Common start of all names of this cluster. */
  readonly prefix: string;
  /** Namespace with the link between the nodes, the control plane and DNS. */
  readonly fabricNetns: string;
  /** Bridge in the fabric's namespace: the link between the nodes. */
  readonly bridge: string;
  readonly gateway4: string;
  readonly gateway6: string;
  /** Service address of the control plane. */
  readonly controlPlaneIp4: string;
  readonly dnsIp4: string;
  readonly dnsIp6: string;
  readonly nodes: readonly NodePlan[];
  /** Folder of Kubernetes YAML that is the cluster's API. */
  readonly resourceDir: string;
  readonly logDir: string;
  /** Root certificate, tokens and the control plane's key. */
  readonly secretDir: string;
}

/** Leaves room for `<state dir>/nodes/nodeN/run/istio-cni/pluginevent.sock` in the 107 bytes of a socket's path. */
const CLUSTER_NAME_MAX = 30;
const NODES_MAX = 9;
/** Where clusters are kept unless another place is given. */
export const DEFAULT_ROOT = '/run/culvert';
export const SERVICE_PREFIX4 = '10.96.0.';
export const SERVICE_PREFIX6 = 'fd00:10:96::';
export const SYSTEM_NAMESPACE = 'istio-system';
/** Where tunnels find the control plane; the name is in its certificate. */
export const CONTROL_PLANE_HOST = 'istiod.istio-system.svc';
export const CONTROL_PLANE_PORT = 15_012;

/** Plans a cluster. Throws ERR_CONFIG for a name that is not a DNS label of 1 to 30 characters, or 0 or over 9 nodes. */
export function planCluster(name: string, stateDir: string, nodeCount: number): ClusterPlan {
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name) || name.length > CLUSTER_NAME_MAX) {
    throw new MeshError(
      'ERR_CONFIG',
      `'${name}' is no cluster name: use a-z, 0-9 and '-', ${CLUSTER_NAME_MAX} at most`,
    );
  }
  if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > NODES_MAX) {
    throw new MeshError('ERR_CONFIG', `a cluster has 1 to ${NODES_MAX} nodes, not ${nodeCount}`);
  }
  const prefix = `culvert.${name}${rootMark(dirname(stateDir))}`;
  const nodes = Array.from({ length: nodeCount }, (_, i) => planNode(prefix, stateDir, i + 1));
  return {
    name,
    stateDir,
    prefix,
    fabricNetns: `${prefix}.fabric`,
    bridge: 'nodes',
    gateway4: '172.30.0.1',
    gateway6: 'fd00:172:30::1',
    controlPlaneIp4: `${SERVICE_PREFIX4}11`,
    dnsIp4: `${SERVICE_PREFIX4}10`,
    dnsIp6: `${SERVICE_PREFIX6}a`,
    nodes,
    resourceDir: join(stateDir, 'resources'),
    logDir: join(stateDir, 'log'),
    secretDir: join(stateDir, 'secrets'),
  };
}

/** Name of the network namespace of a pod. */
export function podNetns(plan: ClusterPlan, podUid: string): string {
  return `${plan.prefix}.pod-${podUid}`;
}

/** The file that keeps a component (`controller`, `ztunnel/node1`) from being started while it exists. */
export function holdFile(plan: ClusterPlan, component: string): string {
  return join(plan.stateDir, `hold-${component.replace('/', '-')}`);
}

/** Where `ip netns` keeps the namespace `name`. */
export function netnsPath(name: string): string {
  return join('/run/netns', name);
}

function rootMark(root: string): string {
  return root === DEFAULT_ROOT ? '' : `+${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
}

function planNode(prefix: string, stateDir: string, index: number): NodePlan {
  const name = `node${index}`;
  return {
    name,
    index,
    netns: `${prefix}.${name}`,
    ipv4: `172.30.0.${10 + index}`,
    ipv6: `fd00:172:30::${10 + index}`,
    podCidr4: `10.244.${index}.0/24`,
    podCidr6: `fd00:10:244:${index}::/64`,
    dir: join(stateDir, 'nodes', name),
    cgroup: `${prefix}/${name}`,
  };
}
