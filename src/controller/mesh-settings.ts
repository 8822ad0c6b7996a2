/** Facts about the mesh that every translation uses. */
export interface MeshSettings {
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Policies here hold for the whole mesh; also the namespace of the control plane. */
  readonly rootNamespace: string;
  /** Objects labelled with another `istio.io/rev` belong to another control plane. */
  readonly revision: string;
  /** Sends policies annotated `istio.io/dry-run`; otherwise they are refused. */
  readonly dryRunPolicies: boolean;
  /** Workloads behind a waypoint let nobody else in. */
  readonly autoAllowWaypoints: boolean;
}

export const DEFAULT_MESH_SETTINGS: MeshSettings = {
  clusterId: 'Kubernetes',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  rootNamespace: 'istio-system',
  revision: 'default',
  dryRunPolicies: false,
  autoAllowWaypoints: false,
};
