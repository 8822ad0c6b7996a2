/** The cluster in network namespaces: scheduler, kubelet, services and DNS around the real programs of the mesh. */

export type { KubeObject } from '../kube/index.ts';
export { ensureCgroup2 } from './cgroup.ts';
export { remainsOf, removeCluster, removeRuntime, stopSupervisor } from './cleanup.ts';
export { ClusterApi } from './cluster-api.ts';
export {
  type ClusterPlan,
  DEFAULT_ROOT,
  holdFile,
  type NodePlan,
  netnsPath,
  planCluster,
  podNetns,
} from './cluster-plan.ts';
export {
  type ClusterState,
  findState,
  getPlan,
  isSupervised,
  listClusters,
  processStartTime,
  writeState,
} from './cluster-state.ts';
export { CniChain } from './cni-chain.ts';
export { entryArgs, podEntryCgroup, resolvConfText } from './container-process.ts';
export { isReady, type Pod, type PodSpec, podIps, type Service } from './kinds.ts';
export { captureLink } from './link-capture.ts';
export {
  labelObject,
  parseObjects,
  readManifests,
  removeObjects,
  type StoredObject,
  storeObjects,
} from './manifest-store.ts';
export { nodeDirs } from './node-files.ts';
export { connectionKey, type TcpPacket } from './pcap.ts';
export { type HttpAnswer, httpRequest } from './probe.ts';
export { type RunResult, run, runAny, SYSTEM_PATH } from './process-runner.ts';
export { clusterIps } from './service-rules.ts';
export { superviseCluster } from './supervisor.ts';
