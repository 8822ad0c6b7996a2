/** The node tunnel. The command line puts it together with a control plane and a node agent. */
export { adminHandler } from './admin/admin-server.ts';
export { configDump } from './admin/config-dump.ts';
export { Readiness, type ReadinessTask, serveReadiness } from './admin/readiness.ts';
export { prefetchCertificates } from './certificate-prefetch.ts';
export type { Demand } from './demanded-view.ts';
export { type LookupRecords, systemLookup } from './dns/hostname-resolver.ts';
export { parseResolvConf, type ResolvConf } from './dns/resolv-conf.ts';
export { runZdsClient, type ZdsConnection } from './inpod/zds-client.ts';
export type { Json } from './state/dump-format.ts';
export { type Address, MeshState } from './state/mesh-state.ts';
export type { StaticConfig } from './state/static-config.ts';
export { readStaticConfig } from './state/static-source.ts';
export type { PodInfo } from './state/workload-index.ts';
export { Tunnel, type TunnelConfig, type TunnelDeps } from './tunnel.ts';
