/**
 * The cluster's API as the local programs use it: the resource directory through the watch port, with writes that
 * are seen by the writer's own view before they count as done. Everybody else (agents, controller) reads the same directory.
 */
import { MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import {
  FileSource,
  FileWriter,
  type GroupKind,
  type Informer,
  type KubeObject,
  type MergePatch,
} from '../kube/index.ts';
import type { NamespacedName } from '../model/address.ts';
import { DEPLOYMENT, type Deployment, POD, type Pod, type PodStatus, SERVICE, type Service } from './kinds.ts';

/** Longest time from a write to the moment the watch shows it. */
const VISIBLE_MS = 5_000;

export class ClusterApi implements AsyncDisposable {
  readonly #source: FileSource;
  readonly #writer: FileWriter;
  readonly pods: Informer<Pod>;
  readonly services: Informer<Service>;
  readonly deployments: Informer<Deployment>;

  private constructor(source: FileSource, manager: string) {
    this.#source = source;
    this.#writer = new FileWriter({ source, manager });
    this.pods = source.informer<Pod>(POD);
    this.services = source.informer<Service>(SERVICE);
    this.deployments = source.informer<Deployment>(DEPLOYMENT);
  }

  /** Opens the directory as the field manager `manager`, which no other process uses. */
  static async open(directory: string, manager: string, log: Logger): Promise<ClusterApi> {
    return new ClusterApi(await FileSource.open({ directory, log }), manager);
  }

  /** Files that could not be used, for `status`. */
  problems(): readonly { readonly file: string; readonly line: number; readonly reason: string }[] {
    return this.#source.problems();
  }

  informer<T extends KubeObject>(kind: GroupKind): Informer<T> {
    return this.#source.informer<T>(kind);
  }

  find(kind: GroupKind, key: NamespacedName): KubeObject | undefined {
    return this.#source.find(kind, key);
  }

  /** Makes or replaces an object that belongs to a program. */
  async apply(kind: GroupKind, object: KubeObject): Promise<void> {
    await this.#writer.applyObject(object);
    await this.#seen(kind, keyOf(object), (found) => found?.metadata.uid === object.metadata.uid);
  }

  async remove(kind: GroupKind, key: NamespacedName): Promise<void> {
    const uid = this.find(kind, key)?.metadata.uid;
    await this.#writer.deleteObject(kind, key);
    await this.#seen(kind, key, (found) => found === undefined || found.metadata.uid !== uid);
  }

  /** Merges a patch. Rejects with ERR_NOT_FOUND when the object is gone. */
  async patch(kind: GroupKind, key: NamespacedName, patch: MergePatch): Promise<void> {
    await this.#writer.patchObject(kind, key, patch);
  }

  async writeStatus(pod: Pod, status: PodStatus): Promise<void> {
    const key = keyOf(pod);
    if (this.pods.get(key)?.metadata.uid !== pod.metadata.uid) {
      throw new MeshError('ERR_NOT_FOUND', `pod ${key.namespace}/${key.name} is gone`);
    }
    await this.#writer.patchStatus(POD, key, { ...status });
  }

  /** Asks a pod to end: the kubelet of its node does the rest. */
  async requestDeletion(pod: Pod, now: string): Promise<void> {
    await this.patch(POD, keyOf(pod), { metadata: { deletionTimestamp: now } });
    await this.#seen(
      POD,
      keyOf(pod),
      (found) => found?.metadata.deletionTimestamp !== undefined || found === undefined,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }

  async #seen(kind: GroupKind, key: NamespacedName, holds: (found: KubeObject | undefined) => boolean): Promise<void> {
    if (holds(this.find(kind, key))) return;
    const informer = this.#source.informer(kind);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        subscription[Symbol.dispose]();
        reject(
          new MeshError('ERR_TIMEOUT', `${kind.kind} ${key.namespace}/${key.name} did not show in ${VISIBLE_MS} ms`),
        );
      }, VISIBLE_MS);
      const check = () => {
        if (!holds(this.find(kind, key))) return;
        clearTimeout(timer);
        queueMicrotask(() => subscription[Symbol.dispose]());
        resolve();
      };
      const subscription = informer.subscribe(check);
      check();
    });
  }
}

export function keyOf({ metadata }: KubeObject): NamespacedName {
  return { namespace: metadata.namespace ?? '', name: metadata.name };
}
