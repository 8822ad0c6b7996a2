/**
 * Environment of the mesh's programs in a local cluster, as their DaemonSets and their Deployment would give it.
 * Source: the tunnel's and agent's tables of variables; see each program's configuration for what a name means.
 */
import { join } from 'node:path';
import { pinRoot } from './cleanup.ts';
import {
  type ClusterPlan,
  CONTROL_PLANE_HOST,
  CONTROL_PLANE_PORT,
  type NodePlan,
  SYSTEM_NAMESPACE,
} from './cluster-plan.ts';
import { nodeDirs } from './node-files.ts';

export type ComponentEnv = Readonly<Record<string, string>>;

/** Files of the control plane: its authority, and what callers prove themselves with. */
export interface MeshSecrets {
  /** Folder with the authority's key and root, made by the controller at its first start. */
  readonly caDir: string;
  readonly rootCert: string;
  /** All tokens as rows of a static token file, for the controller alone. */
  readonly tokensFile: string;
}

export function meshSecrets(plan: ClusterPlan): MeshSecrets {
  const caDir = join(plan.secretDir, 'ca');
  return { caDir, rootCert: join(caDir, 'root-cert.pem'), tokensFile: join(plan.secretDir, 'tokens.csv') };
}

/** The token file of a node's tunnel. */
export function tunnelTokenFile(plan: ClusterPlan, node: NodePlan): string {
  return join(plan.secretDir, `${node.name}-ztunnel.token`);
}

export function controllerEnv(plan: ClusterPlan): ComponentEnv {
  const secrets = meshSecrets(plan);
  return {
    RESOURCE_DIR: plan.resourceDir,
    POD_NAME: 'istiod-local',
    POD_NAMESPACE: SYSTEM_NAMESPACE,
    CLUSTER_ID: 'Kubernetes',
    CA_DIR: secrets.caDir,
    TOKENS_FILE: secrets.tokensFile,
    LISTEN_PORT: String(CONTROL_PLANE_PORT),
  };
}

export function tunnelEnv(plan: ClusterPlan, node: NodePlan): ComponentEnv {
  const { rootCert } = meshSecrets(plan);
  const address = `https://${CONTROL_PLANE_HOST}:${CONTROL_PLANE_PORT}`;
  return {
    NODE_NAME: node.name,
    POD_NAME: `ztunnel-${node.name}`,
    POD_NAMESPACE: SYSTEM_NAMESPACE,
    SERVICE_ACCOUNT: 'ztunnel',
    INSTANCE_IP: node.ipv4,
    CLUSTER_ID: 'Kubernetes',
    INPOD_UDS: nodeDirs(node).zdsSocket,
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    XDS_ROOT_CA: rootCert,
    CA_ROOT_CA: rootCert,
    AUTH_TOKEN: tunnelTokenFile(plan, node),
  };
}

/** Of a waypoint's container, beside the facts of its pod. One worker: a local cluster shares one machine. */
export function waypointEnv(plan: ClusterPlan): ComponentEnv {
  return {
    CLUSTER_ID: 'Kubernetes',
    XDS_ADDRESS: `https://${CONTROL_PLANE_HOST}:${CONTROL_PLANE_PORT}`,
    XDS_ROOT_CA: meshSecrets(plan).rootCert,
    CONCURRENCY: '1',
  };
}

/** Where tokens of pods are kept. */
export function podTokensFolder(plan: ClusterPlan): string {
  return join(plan.secretDir, 'pods');
}

export function agentEnv(
  plan: ClusterPlan,
  node: NodePlan,
  options: { cgroup2: string; redirect: string },
): ComponentEnv {
  const dirs = nodeDirs(node);
  return {
    NODE_NAME: node.name,
    POD_NAME: `istio-cni-node-${node.name}`,
    POD_NAMESPACE: SYSTEM_NAMESPACE,
    SYSTEM_NAMESPACE,
    AMBIENT_ENABLED: 'true',
    AMBIENT_DNS_CAPTURE: 'true',
    AMBIENT_IPV6: 'true',
    MOUNTED_CNI_NET_DIR: dirs.configDir,
    CNI_BIN_DIR: dirs.binDir,
    CNI_AGENT_RUN_DIR: dirs.agentRunDir,
    ZTUNNEL_UDS_ADDRESS: dirs.zdsSocket,
    RESOURCE_DIR: plan.resourceDir,
    REDIRECT_BACKEND: options.redirect,
    KUBEPODS_CGROUP: join(options.cgroup2, node.cgroup, 'kubepods'),
    TUNNEL_CGROUP: join(options.cgroup2, node.cgroup, 'system/ztunnel'),
    BPF_PIN_DIR: join(pinRoot(plan), node.name),
  };
}
