/** Paths of the kinds that are installed, or looked at, in the Kubernetes API. */
import { MeshError } from '../../core/errors.ts';

export interface KindPath {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const kind = (apiVersion: string, name: string, plural: string, namespaced = true): KindPath => ({
  ...{ apiVersion, kind: name, plural, namespaced },
});

/** In the order in which they are removed: what acts goes first, what it needs to end well stays until then. */
export const INSTALLED_KINDS: readonly KindPath[] = [
  kind('gateway.networking.k8s.io/v1', 'Gateway', 'gateways'),
  kind('apps/v1', 'DaemonSet', 'daemonsets'),
  kind('autoscaling/v2', 'HorizontalPodAutoscaler', 'horizontalpodautoscalers'),
  kind('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets'),
  kind('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration', 'validatingwebhookconfigurations', false),
  kind('apps/v1', 'Deployment', 'deployments'),
  kind('v1', 'Service', 'services'),
  kind('v1', 'ResourceQuota', 'resourcequotas'),
  kind('v1', 'ConfigMap', 'configmaps'),
  kind('gateway.networking.k8s.io/v1', 'GatewayClass', 'gatewayclasses', false),
  kind('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings'),
  kind('rbac.authorization.k8s.io/v1', 'Role', 'roles'),
  kind('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', 'clusterrolebindings', false),
  kind('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles', false),
  kind('v1', 'ServiceAccount', 'serviceaccounts'),
];

const OTHER_KINDS: readonly KindPath[] = [
  kind('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'customresourcedefinitions', false),
  kind('v1', 'Namespace', 'namespaces', false),
  kind('v1', 'Node', 'nodes', false),
  kind('v1', 'Pod', 'pods'),
  kind('v1', 'Event', 'events'),
  kind('v1', 'Secret', 'secrets'),
  kind('coordination.k8s.io/v1', 'Lease', 'leases'),
  kind('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies'),
  kind('monitoring.coreos.com/v1', 'ServiceMonitor', 'servicemonitors'),
];

/** Throws ERR_UNSUPPORTED for a kind that is not in the tables. */
export function kindPath(apiVersion: string, name: string): KindPath {
  const found = [...INSTALLED_KINDS, ...OTHER_KINDS].find(
    (entry) => entry.kind === name && groupOf(entry.apiVersion) === groupOf(apiVersion),
  );
  if (found === undefined) throw new MeshError('ERR_UNSUPPORTED', `no path is known for ${apiVersion} ${name}`);
  return found;
}

/** All objects of the kind, of one namespace when it is given. */
export function listPath({ apiVersion, plural, namespaced }: KindPath, namespace?: string): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return namespaced && namespace !== undefined
    ? `${root}/namespaces/${encodeURIComponent(namespace)}/${plural}`
    : `${root}/${plural}`;
}

export function objectPath(path: KindPath, name: string, namespace: string | undefined): string {
  return `${listPath(path, namespace)}/${encodeURIComponent(name)}`;
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
}
