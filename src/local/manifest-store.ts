/**
 * Puts manifests into a cluster's resource directory, one file per object, so that applying an object again replaces
 * it. What the cluster's programs wrote about an object (addresses, status) is kept elsewhere and survives.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { errnoName, MeshError } from '../core/errors.ts';
import { type KubeObject, parseManifest } from '../kube/index.ts';
import type { Container, PodSpec } from './kinds.ts';

export interface StoredObject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly change: 'created' | 'configured' | 'unchanged' | 'deleted' | 'absent';
}

/** Reads a file of manifests. Throws ERR_MALFORMED with file, line and reason of everything wrong in it. */
export async function readManifests(file: string, namespace = 'default'): Promise<readonly KubeObject[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new MeshError('ERR_NOT_FOUND', `cannot read ${file}`, { cause });
  });
  return parseObjects(file, text, namespace);
}

/** The same for text already read; relative working folders are those of the file. */
export function parseObjects(file: string, text: string, namespace = 'default'): readonly KubeObject[] {
  const { objects, problems } = parseManifest(file, text);
  if (problems.length > 0) {
    const list = problems.map((problem) => `${problem.file}:${problem.line}: ${problem.reason}`);
    throw new MeshError('ERR_MALFORMED', list.join('\n'));
  }
  return objects.map(({ object, key }) => {
    const scoped = key.namespace === '' ? {} : { namespace: object.metadata.namespace ?? namespace };
    return withWorkingDirs({ ...object, metadata: { ...object.metadata, ...scoped } }, dirname(resolve(file)));
  });
}

/** Stores objects. A running cluster sees each as soon as its file is in place. */
export async function storeObjects(
  resourceDir: string,
  objects: readonly KubeObject[],
): Promise<readonly StoredObject[]> {
  const stored: StoredObject[] = [];
  for (const object of objects) {
    const path = objectFile(resourceDir, object);
    const before = await readFile(path, 'utf8').catch(() => undefined);
    const text = stringify(object);
    if (before !== text) await replaceFile(path, text);
    const change = before === undefined ? 'created' : before === text ? 'unchanged' : 'configured';
    stored.push({ ...nameOf(object), change });
  }
  return stored;
}

/** Removes objects that `storeObjects` has put there. */
export async function removeObjects(
  resourceDir: string,
  objects: readonly KubeObject[],
): Promise<readonly StoredObject[]> {
  const removed: StoredObject[] = [];
  for (const object of objects) {
    try {
      await rm(objectFile(resourceDir, object));
      removed.push({ ...nameOf(object), change: 'deleted' });
    } catch (error) {
      if (errnoName(error) !== 'ENOENT') throw error;
      removed.push({ ...nameOf(object), change: 'absent' });
    }
  }
  return removed;
}

/** Sets and removes (undefined) labels of a stored object. Rejects with ERR_NOT_FOUND when it is not there. */
export async function labelObject(
  resourceDir: string,
  target: { readonly apiVersion: string; readonly kind: string; readonly namespace?: string; readonly name: string },
  labels: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const { apiVersion, kind, name } = target;
  const namespaced = target.namespace === undefined ? {} : { namespace: target.namespace };
  const path = objectFile(resourceDir, { apiVersion, kind, metadata: { name, ...namespaced } });
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new MeshError('ERR_NOT_FOUND', `no ${kind} ${name} was applied`, { cause });
  });
  const object = parseAllDocuments(text)[0]?.toJS() as KubeObject; // written by storeObjects
  const merged = { ...object.metadata.labels, ...labels };
  const kept = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined));
  await replaceFile(path, stringify({ ...object, metadata: { ...object.metadata, labels: kept } }));
}

function objectFile(resourceDir: string, { kind, apiVersion, metadata }: KubeObject): string {
  const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
  return join(resourceDir, metadata.namespace ?? '_cluster', `${kind.toLowerCase()}${group}_${metadata.name}.yaml`);
}

function nameOf({ kind, metadata }: KubeObject): Pick<StoredObject, 'kind' | 'namespace' | 'name'> {
  return { kind, namespace: metadata.namespace ?? '', name: metadata.name };
}

async function replaceFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

/** There are no images, so a container starts in the folder of its manifest unless it names another. */
function withWorkingDirs(object: KubeObject, dir: string): KubeObject {
  const { spec } = object as KubeObject & { spec?: PodSpec & { template?: { spec?: PodSpec } } };
  const place = (pod: PodSpec): PodSpec => ({
    ...pod,
    ...(pod.containers ? { containers: pod.containers.map((c) => ({ ...c, workingDir: workingDir(c, dir) })) } : {}),
  });
  if (object.kind === 'Pod' && spec) return { ...object, ...{ spec: place(spec) } };
  if (object.kind !== 'Deployment' || !spec?.template?.spec) return object;
  return { ...object, ...{ spec: { ...spec, template: { ...spec.template, spec: place(spec.template.spec) } } } };
}

function workingDir({ workingDir: given }: Container, dir: string): string {
  return resolve(dir, given ?? '.');
}
