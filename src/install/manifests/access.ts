/**
 * Who may do what. Every rule says what it is for; a verb that nothing needs is not there, and a test holds this table
 * against what the programs ask for. Source: privileges of Istio's control plane and CNI agent.
 */
import type { V1ClusterRole, V1ClusterRoleBinding, V1PolicyRule, V1Role, V1RoleBinding } from '@kubernetes/client-node';
import { NAMESPACE } from '../template/expression.ts';
import { AGENT, type AnyManifest, CONTROL_PLANE, clusterWide, inNamespace, type Manifest, TUNNEL } from './manifest.ts';

export interface AccessRule {
  readonly groups: readonly string[];
  readonly resources: readonly string[];
  readonly names?: readonly string[];
  readonly verbs: readonly string[];
  /** What needs it. */
  readonly why: string;
}

export interface Access {
  readonly account: string;
  readonly clusterWide: readonly AccessRule[];
  readonly inNamespace: readonly AccessRule[];
}

const READ = ['get', 'list', 'watch'];
const WRITE = ['create', 'update', 'patch', 'delete'];
const STATUS = ['get', 'patch', 'update'];

export const CONTROL_PLANE_ACCESS: Access = {
  account: CONTROL_PLANE,
  clusterWide: [
    {
      groups: [''],
      resources: ['pods', 'nodes', 'services', 'namespaces'],
      verbs: READ,
      why: 'workloads and services',
    },
    { groups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ, why: 'endpoints of services' },
    { groups: [''], resources: ['secrets'], verbs: READ, why: 'certificates of listeners, other clusters' },
    {
      groups: ['security.istio.io', 'networking.istio.io', 'telemetry.istio.io', 'extensions.istio.io', 'culvert.dev'],
      resources: ['*'],
      verbs: READ,
      why: 'the configuration of the mesh',
    },
    {
      groups: ['security.istio.io'],
      resources: ['authorizationpolicies/status', 'peerauthentications/status', 'requestauthentications/status'],
      verbs: STATUS,
      why: 'what became of a policy',
    },
    {
      groups: ['networking.istio.io'],
      resources: [
        ...['workloadentries/status', 'serviceentries/status', 'virtualservices/status', 'destinationrules/status'],
        'sidecars/status',
      ],
      verbs: STATUS,
      why: 'bindings, allocated addresses, what is not served',
    },
    { groups: ['telemetry.istio.io'], resources: ['telemetries/status'], verbs: STATUS, why: 'what is not served' },
    { groups: ['culvert.dev'], resources: ['ratelimitpolicies/status'], verbs: STATUS, why: 'what became of a limit' },
    { groups: [''], resources: ['services/status'], verbs: STATUS, why: 'binding to a waypoint' },
    { groups: ['gateway.networking.k8s.io'], resources: ['*'], verbs: READ, why: 'gateways and routes' },
    {
      groups: ['gateway.networking.k8s.io'],
      resources: [
        ...['gatewayclasses/status', 'gateways/status', 'httproutes/status', 'grpcroutes/status', 'tlsroutes/status'],
        ...['tcproutes/status', 'udproutes/status', 'backendtlspolicies/status', 'listenersets/status'],
        'referencegrants/status',
      ],
      verbs: STATUS,
      why: 'what became of gateways and routes',
    },
    {
      groups: ['gateway.networking.k8s.io'],
      resources: ['gatewayclasses'],
      verbs: WRITE,
      why: 'the classes of the mesh',
    },
    {
      groups: [''],
      resources: ['configmaps'],
      verbs: [...READ, 'create', 'update', 'patch'],
      why: 'root certificates in every namespace',
    },
    { groups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'], why: 'who asks' },
    { groups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'], why: 'what they may' },
    { groups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: READ, why: 'kinds that come' },
    {
      groups: ['admissionregistration.k8s.io'],
      resources: ['validatingwebhookconfigurations'],
      verbs: [...READ, 'update', 'patch'],
      why: 'the certificate of the own webhook',
    },
    {
      groups: ['certificates.k8s.io'],
      resources: ['certificatesigningrequests'],
      verbs: [...READ, 'create', 'delete'],
      why: 'signing by a signer of Kubernetes',
    },
    {
      groups: ['certificates.k8s.io'],
      resources: ['certificatesigningrequests/approval'],
      verbs: ['update', 'patch'],
      why: 'signing by a signer of Kubernetes',
    },
    {
      groups: ['certificates.k8s.io'],
      resources: ['signers'],
      names: ['kubernetes.io/legacy-unknown', 'istio.io/*'],
      verbs: ['approve'],
      why: 'signing by a signer of Kubernetes',
    },
    {
      groups: ['apps'],
      resources: ['deployments'],
      verbs: [...READ, ...WRITE],
      why: 'deployments of gateways and waypoints',
    },
    { groups: [''], resources: ['services'], verbs: WRITE, why: 'Services of gateways and waypoints' },
    { groups: [''], resources: ['serviceaccounts'], verbs: [...READ, ...WRITE], why: 'accounts of gateways' },
    {
      groups: ['autoscaling'],
      resources: ['horizontalpodautoscalers'],
      verbs: [...READ, ...WRITE],
      why: 'as many gateways as are needed',
    },
    {
      groups: ['policy'],
      resources: ['poddisruptionbudgets'],
      verbs: [...READ, ...WRITE],
      why: 'a gateway stays while nodes are drained',
    },
    { groups: ['', 'events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'], why: 'telling what is wrong' },
  ],
  inNamespace: [
    {
      groups: [''],
      resources: ['secrets'],
      verbs: WRITE,
      why: 'the certificate authority',
    },
    { groups: [''], resources: ['configmaps'], verbs: ['delete'], why: 'what an earlier version left' },
    {
      groups: ['coordination.k8s.io'],
      resources: ['leases'],
      verbs: [...READ, 'create', 'update', 'patch'],
      why: 'electing who writes',
    },
  ],
};

/** Only with `pilot.taint.enabled`. */
export const UNTAINT_RULE: AccessRule = {
  ...{ groups: [''], resources: ['nodes'], verbs: ['patch'], why: 'taking the taint off nodes that are ready' },
};

export const AGENT_ACCESS: Access = {
  account: AGENT,
  clusterWide: [
    {
      groups: [''],
      resources: ['pods', 'namespaces'],
      verbs: READ,
      why: 'pods of the node, and who is to be captured',
    },
    {
      groups: ['security.istio.io'],
      resources: ['authorizationpolicies', 'peerauthentications'],
      verbs: READ,
      why: 'clear connections of a pod that joins are judged by its policies',
    },
    { groups: [''], resources: ['pods/status'], verbs: ['patch', 'update'], why: 'the annotation of a captured pod' },
  ],
  inNamespace: [
    { groups: ['apps'], resources: ['daemonsets'], names: [AGENT], verbs: ['get'], why: 'an upgrade, or a removal?' },
  ],
};

/** The tunnel asks the control plane only. */
export const TUNNEL_ACCESS: Access = { account: TUNNEL, clusterWide: [], inNamespace: [] };

const GROUP = 'rbac.authorization.k8s.io';
const VERSION = `${GROUP}/v1`;

/** Account, roles and their bindings. */
export function accessManifests({ account, clusterWide: wide, inNamespace: own }: Access): readonly AnyManifest[] {
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: inNamespace(account, account) },
    ...(wide.length === 0 ? [] : clusterRole(account, account, wide)),
    ...(own.length === 0 ? [] : role(account, own)),
  ];
}

/** A ClusterRole for the account, and its binding. */
export function clusterRole(name: string, account: string, rules: readonly AccessRule[]): readonly AnyManifest[] {
  const metadata = clusterWide(`${name}-clusterrole`, account);
  const grant: Manifest<V1ClusterRole> = {
    ...{ apiVersion: VERSION, kind: 'ClusterRole', metadata },
    rules: rules.map(policyRule),
  };
  const binding: Manifest<V1ClusterRoleBinding> = {
    ...{ apiVersion: VERSION, kind: 'ClusterRoleBinding', metadata },
    roleRef: { apiGroup: GROUP, kind: 'ClusterRole', name: metadata.name },
    subjects: [subject(account)],
  };
  return [grant, binding];
}

function role(account: string, rules: readonly AccessRule[]): readonly AnyManifest[] {
  const metadata = inNamespace(account, account);
  const grant: Manifest<V1Role> = { apiVersion: VERSION, kind: 'Role', metadata, rules: rules.map(policyRule) };
  const binding: Manifest<V1RoleBinding> = {
    ...{ apiVersion: VERSION, kind: 'RoleBinding', metadata },
    roleRef: { apiGroup: GROUP, kind: 'Role', name: account },
    subjects: [subject(account)],
  };
  return [grant, binding];
}

function subject(account: string) {
  return { kind: 'ServiceAccount', name: account, namespace: NAMESPACE };
}

function policyRule({ groups, resources, names, verbs }: AccessRule): V1PolicyRule {
  return {
    ...{ apiGroups: [...groups], resources: [...resources], verbs: [...verbs] },
    ...(names === undefined ? {} : { resourceNames: [...names] }),
  };
}
