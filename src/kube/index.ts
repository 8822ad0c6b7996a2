/** Kubernetes objects as a watch port, and its providers: an API server, and a directory of YAML. */
export * from './client/index.ts';
export * from './file/index.ts';
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
