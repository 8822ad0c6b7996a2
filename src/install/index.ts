/** What is installed in a cluster, written once; and bringing it there, checking it, and taking it away. */
export type { Finding } from './check/finding.ts';
export type { NodeReport } from './check/node-checks.ts';
export { type CheckOptions, checkBefore, checkInstalled } from './check/run-checks.ts';
export { type ApiObject, type Applied, Cluster, nameOf } from './cluster/cluster.ts';
export type { Progress } from './cluster/wait.ts';
export { deploymentFiles, USUAL_GROUPS, yamlDocuments } from './deployment-files.ts';
export { type InstallCounts, type InstallOptions, install } from './install.ts';
export { type InstallFile, readInstallFile } from './install-file.ts';
export { namespaceObject, type PlainObject, type RenderOptions, renderObjects } from './manifests/index.ts';
export { type UninstallOptions, type UninstallResult, uninstall } from './uninstall.ts';
export { DEFAULT_VALUES, type InstallValues, mergeValues, parseValues } from './values.ts';
