/** Kubernetes objects as a watch port, and the provider that reads a directory of YAML. */
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
  WatchOptions,
} from './port.ts';
