/** The parts of Kubernetes kinds that the local cluster reads and writes. Shapes are those of the API, versions v1. */
import type { GroupKind, KubeObject, ObjectMeta } from '../kube/port.ts';

export const POD: GroupKind = { group: '', kind: 'Pod' };
export const SERVICE: GroupKind = { group: '', kind: 'Service' };
export const NODE: GroupKind = { group: '', kind: 'Node' };
export const NAMESPACE: GroupKind = { group: '', kind: 'Namespace' };
export const DEPLOYMENT: GroupKind = { group: 'apps', kind: 'Deployment' };

export interface Probe {
  readonly httpGet?: { readonly path?: string; readonly port: number | string };
  readonly tcpSocket?: { readonly port: number | string };
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly failureThreshold?: number;
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  /** A fact of the pod: `metadata.name`, `status.podIP`, ... */
  readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
}

export interface Container {
  readonly name: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly EnvVar[];
  readonly ports?: readonly {
    readonly name?: string;
    readonly containerPort: number;
    readonly protocol?: string;
  }[];
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } };
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly serviceAccountName?: string;
  readonly hostNetwork?: boolean;
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never';
  readonly terminationGracePeriodSeconds?: number;
  readonly containers?: readonly Container[];
}

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly lastTransitionTime?: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface PodStatus {
  readonly phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  readonly podIP?: string;
  readonly podIPs?: readonly { readonly ip: string }[];
  readonly conditions?: readonly Condition[];
  readonly containerStatuses?: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly restartCount: number;
    readonly containerID?: string;
  }[];
}

export interface Pod extends KubeObject {
  readonly spec?: PodSpec;
  readonly status?: PodStatus;
}

export interface PodTemplate {
  readonly metadata?: Partial<ObjectMeta>;
  readonly spec: PodSpec;
}

export interface Deployment extends KubeObject {
  readonly spec: { readonly replicas?: number; readonly template: PodTemplate };
  readonly status?: Readonly<Record<string, unknown>>;
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly targetPort?: number | string;
  readonly protocol?: string;
  readonly appProtocol?: string;
}

export interface Service extends KubeObject {
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ipFamilies?: readonly string[];
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports?: readonly ServicePort[];
  };
}

/** Whether the kubelet's Ready condition holds and the pod is to stay. */
export function isReady(pod: Pod): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

/** The number of a container's port given by number or name; undefined when no container has that name. */
export function findPort(pod: Pod, port: number | string): number | undefined {
  if (typeof port === 'number') return port;
  for (const container of pod.spec?.containers ?? []) {
    const found = container.ports?.find((p) => p.name === port);
    if (found) return found.containerPort;
  }
  return undefined;
}

/** Pods a service stands for, ready or not; none without a selector. */
export function selectPods(service: Service, pods: readonly Pod[]): readonly Pod[] {
  const selector = Object.entries(service.spec?.selector ?? {});
  if (selector.length === 0) return [];
  return pods.filter(
    (pod) =>
      pod.metadata.namespace === service.metadata.namespace &&
      selector.every(([key, value]) => pod.metadata.labels?.[key] === value),
  );
}

export function podIps(pod: Pod): readonly string[] {
  return pod.status?.podIPs?.map(({ ip }) => ip) ?? (pod.status?.podIP === undefined ? [] : [pod.status.podIP]);
}
