/**
 * Where the file provider keeps what programs write.
 *  - `.overlay/<field manager>/<kind>.<group>/<namespace>/<name>.json`: `{ "uid", "patch" }`, a merge patch for the object
 *    of that uid. Cluster-scoped objects have the namespace `_`.
 *  - `.objects/<kind>.<group>/<namespace>/<name>.json`: whole objects made by programs.
 */
import { MeshError } from '../../core/errors.ts';
import type { ObjectKey } from './object-key.ts';
import type { Overlay } from './object-store.ts';

export const OVERLAY_FOLDER = '.overlay';
export const OBJECTS_FOLDER = '.objects';
const CLUSTER_SCOPE = '_';

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9:._-]{0,252}$/;

/** Throws ERR_MALFORMED for names that could leave the folder. */
export function overlayPath(manager: string, key: ObjectKey): string {
  return `${OVERLAY_FOLDER}/${segment(manager)}/${keyPath(key)}`;
}

export function objectPath(key: ObjectKey): string {
  return `${OBJECTS_FOLDER}/${keyPath(key)}`;
}

export function keyPath({ kind, namespace, name }: ObjectKey): string {
  return `${segment(kind)}/${segment(namespace === '' ? CLUSTER_SCOPE : namespace)}/${segment(name)}.json`;
}

/** The key that the last three parts of a path stand for. */
export function overlayKey(kind: string, namespace: string, file: string): ObjectKey {
  return { kind, namespace: namespace === CLUSTER_SCOPE ? '' : namespace, name: file.slice(0, -'.json'.length) };
}

/** Reads an overlay file; the answer is a reason when it is none. */
export function parseOverlay(path: string, text: string): Overlay | string {
  const [, manager, kind, namespace, file, ...rest] = path.split('/');
  if (!manager || !kind || !namespace || !file || rest.length > 0) return 'is not an overlay path';
  const key = overlayKey(kind, namespace, file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'is not JSON';
  }
  const { uid, patch } = (value ?? {}) as Record<string, unknown>;
  if (typeof uid !== 'string' || typeof patch !== 'object' || patch === null || Array.isArray(patch)) {
    return 'has no uid or no patch';
  }
  return { manager, key, uid, patch: patch as Record<string, unknown> };
}

function segment(text: string): string {
  if (SEGMENT.test(text)) return text;
  throw new MeshError('ERR_MALFORMED', `${JSON.stringify(text)} is not usable as a file name`);
}
