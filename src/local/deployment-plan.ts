/**
 * What the deployment controller and the scheduler decide, as pure functions: which pods to make, which to end, where
 * they run, which address a service gets. Run twice on the same state they ask for nothing more.
 */
import { createHash } from 'node:crypto';
import { SERVICE_PREFIX4, SERVICE_PREFIX6 } from './cluster-plan.ts';
import { type Deployment, isReady, type Pod, type Service } from './kinds.ts';
import { clusterIps } from './service-rules.ts';

export const TEMPLATE_HASH_LABEL = 'pod-template-hash';
/** The host part of addresses below is kept for the cluster's own services. */
const FIRST_SERVICE_HOST = 20;
const LAST_SERVICE_HOST = 250;

export interface DeploymentPlan {
  readonly create: number;
  readonly remove: readonly Pod[];
}

/** Name part that changes with the template: a changed template makes new pods. */
export function templateHash(deployment: Deployment): string {
  const { template } = deployment.spec;
  return createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 10);
}

/** Pods made for a deployment, of its present template or an older one. */
export function isOwnedBy(pod: Pod, { metadata }: Deployment): boolean {
  const hash = pod.metadata.labels?.[TEMPLATE_HASH_LABEL];
  if (hash === undefined || pod.metadata.namespace !== metadata.namespace) return false;
  return pod.metadata.ownerReferences?.some((owner) => owner.name === `${metadata.name}-${hash}`) ?? false;
}

/** New pods come first; those of an older template end when as many new ones are ready as are wanted. */
export function planDeployment(deployment: Deployment, pods: readonly Pod[]): DeploymentPlan {
  const wanted = deployment.spec.replicas ?? 1;
  const hash = templateHash(deployment);
  const owned = pods.filter((pod) => isOwnedBy(pod, deployment) && pod.metadata.deletionTimestamp === undefined);
  const present = owned.filter((pod) => pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === hash);
  const old = owned.filter((pod) => !present.includes(pod));
  const ready = present.filter(isReady);
  const idleFirst = present.toSorted((a, b) => Number(isReady(a)) - Number(isReady(b)));
  const surplus = idleFirst.slice(0, Math.max(0, present.length - wanted));
  return {
    create: Math.max(0, wanted - present.length),
    remove: [...surplus, ...(ready.length >= wanted ? old : [])],
  };
}

/** A pod of a deployment, not yet on a node. `uid` and `suffix` are made by the caller so that this stays pure. */
export function podOf(deployment: Deployment, uid: string, suffix: string): Pod {
  const hash = templateHash(deployment);
  const { template } = deployment.spec;
  const { name, namespace = 'default' } = deployment.metadata;
  const set = `${name}-${hash}`;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${set}-${suffix}`,
      generateName: `${set}-`,
      namespace,
      uid,
      labels: { ...template.metadata?.labels, [TEMPLATE_HASH_LABEL]: hash },
      ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: set, uid: replicaSetUid(deployment), controller: true },
      ],
    },
    spec: { serviceAccountName: 'default', ...template.spec },
    status: { phase: 'Pending' },
  };
}

/**
 * The node for a pod: one its `nodeSelector` allows, with the fewest pods of the same owner, then the fewest pods.
 * Undefined when no node is allowed.
 */
export function chooseNode(pod: Pod, nodeNames: readonly string[], pods: readonly Pod[]): string | undefined {
  const hostname = pod.spec?.nodeSelector?.['kubernetes.io/hostname'];
  const allowed = hostname === undefined ? nodeNames : nodeNames.filter((name) => name === hostname);
  const owner = pod.metadata.ownerReferences?.[0]?.uid;
  const load = (node: string): number => {
    const there = pods.filter((other) => other.spec?.nodeName === node);
    const kin = there.filter((other) => owner !== undefined && other.metadata.ownerReferences?.[0]?.uid === owner);
    return kin.length * 1_000 + there.length;
  };
  return allowed.toSorted((a, b) => load(a) - load(b) || a.localeCompare(b))[0];
}

/** Addresses for a service without one: both families, the first free host part. Undefined when none is needed or left. */
export function serviceAddresses(service: Service, services: readonly Service[]): readonly string[] | undefined {
  const { type, clusterIP, clusterIPs } = service.spec ?? {};
  if (type === 'ExternalName' || clusterIP === 'None' || clusterIP || clusterIPs?.length) return undefined;
  const taken = new Set(services.flatMap(clusterIps));
  for (let host = FIRST_SERVICE_HOST; host <= LAST_SERVICE_HOST; host++) {
    const pair = [`${SERVICE_PREFIX4}${host}`, `${SERVICE_PREFIX6}${host.toString(16)}`];
    if (!pair.some((ip) => taken.has(ip))) return pair;
  }
  return undefined;
}

function replicaSetUid(deployment: Deployment): string {
  const seed = `${deployment.metadata.uid ?? deployment.metadata.name}/${templateHash(deployment)}`;
  const hex = createHash('sha256').update(seed).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
