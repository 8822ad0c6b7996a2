/**
 * Makes the root certificates known: a file for programs beside the control plane, and the ConfigMap
 * `istio-ca-root-cert` (key `root-cert.pem`) in every namespace. Source: Istio control plane.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Informer, KubeObject } from '../../kube/index.ts';

export interface RootPublisherDeps {
  readonly namespaces: Informer<KubeObject>;
  readonly configMaps: Informer<KubeObject>;
  readonly apply: (object: KubeObject) => Promise<void>;
  readonly log: Logger;
}

/** The ConfigMap's name. */
export const ROOT_CONFIG_MAP = 'istio-ca-root-cert';
const KEY = 'root-cert.pem';

/** Replaces the file whole, and only when it says something else. */
export async function writeRootFile(path: string, rootsPem: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before === rootsPem) return;
  await writeFile(`${path}.new`, rootsPem, { mode: 0o644 });
  await rename(`${path}.new`, path);
}

/** Writes the ConfigMap where it is missing or differs. Answers false when a namespace failed: call it again. */
export async function publishRoots(rootsPem: string, deps: RootPublisherDeps): Promise<boolean> {
  let complete = true;
  for (const { metadata } of deps.namespaces.list()) {
    if (metadata.deletionTimestamp !== undefined) continue;
    const namespace = metadata.name;
    const present = deps.configMaps.get({ namespace, name: ROOT_CONFIG_MAP }) as
      | { data?: Record<string, string> }
      | undefined;
    if (present?.data?.[KEY] === rootsPem) continue;
    const labels = { 'istio.io/config': 'true' };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: ROOT_CONFIG_MAP, namespace, labels } };
    try {
      await deps.apply({ ...object, data: { [KEY]: rootsPem } } as KubeObject);
    } catch (error) {
      complete = false;
      deps.log.warn('root certificates not published', { namespace, error: errorMessage(error) });
    }
  }
  return complete;
}
