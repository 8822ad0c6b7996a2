/** Kubernetes objects as a watch port, and its providers: an API server, and a directory of YAML. */
export { ApiClient } from './client/api-client.ts';
export { type ClusterSigner, clusterSigner, type SigningOrder } from './client/certificate-requests.ts';
export { ClientSource, type ClientSourceOptions } from './client/client-source.ts';
export { ClientWriter, type ClientWriterOptions } from './client/client-writer.ts';
export { type ClusterLocation, openTransport } from './client/cluster-access.ts';
export { type ReviewedToken, type TokenReviewer, tokenReviewer } from './client/token-review.ts';
export { FileSource, type FileSourceOptions } from './file/file-source.ts';
export { FileWriter, type FileWriterOptions } from './file/file-writer.ts';
export { type ManifestProblem, type ObjectCheck, type ObjectFault, parseManifest } from './file/manifest.ts';
export type {
  GroupKind,
  Informer,
  KubeObject,
  KubeSource,
  KubeWriter,
  MergePatch,
  ObjectMeta,
  OwnerReference,
  RefusedObject,
  WatchOptions,
} from './port.ts';
