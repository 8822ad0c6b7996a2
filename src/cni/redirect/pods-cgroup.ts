/**
 * The cgroup2 folder that holds all pods of this node, found from a process that is one of them. On a node with cgroup v2
 * that is `kubepods.slice` or `kubepods`; on a hybrid node the same below the second mount; with cgroup v1 alone there is
 * none, and the node captures by rules. Several nodes of one machine have one each: the root they share is never taken.
 * Source: cgroups(7); kubelet's cgroup drivers.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** kubelet nests root, slice, quality of service, pod, container; some distributions put one or two more above. */
const DEPTH_MAX = 8;
const PODS_FOLDER = /^(?:.*-)?kubepods(?:\.slice)?$/;

/**
 * Looks below the cgroup2 mounts that `mountsText` (/proc/self/mounts) has at or below `mountDir` for the pod `podUid`.
 * Undefined when there is no such mount, or the pod is not in it.
 */
export function findPodsCgroup(
  podUid: string,
  mountDir: string,
  mountsText = readFileSync('/proc/self/mounts', 'utf8'),
): string | undefined {
  for (const mount of mountsOf(mountsText)) {
    if (mount !== mountDir && !mount.startsWith(`${mountDir.replace(/\/$/, '')}/`)) continue;
    const folder = findFolder(mount, (name) => podNames(podUid).some((wanted) => name.includes(wanted)));
    const found = folder && podsFolderOf(mount, folder);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The folder of that name above a pod's folder; undefined when there is none. Pure. */
export function podsFolderOf(mount: string, podFolder: string): string | undefined {
  const parts = podFolder.slice(mount.length).split('/').filter(Boolean);
  const index = parts.findIndex((part) => PODS_FOLDER.test(part));
  return index < 0 ? undefined : join(mount, ...parts.slice(0, index + 1));
}

/** All cgroup2 mounts by the text of /proc/self/mounts. Total. */
export function mountsOf(mounts: string): readonly string[] {
  return mounts.split('\n').flatMap((line) => {
    const [, target, type] = line.split(' ');
    return target !== undefined && type === 'cgroup2' ? [target] : [];
  });
}

/** The first folder below `root`, breadth first, that `isWanted` by its name. */
export function findFolder(root: string, isWanted: (name: string) => boolean): string | undefined {
  let level = [root];
  for (let depth = 0; depth < DEPTH_MAX && level.length > 0; depth++) {
    const next: string[] = [];
    for (const folder of level) {
      for (const name of foldersOf(folder)) {
        if (isWanted(name)) return join(folder, name);
        next.push(join(folder, name));
      }
    }
    level = next;
  }
  return undefined;
}

/** The systemd driver writes underscores. */
function podNames(uid: string): readonly string[] {
  return [`pod${uid}`, `pod${uid.replaceAll('-', '_')}`];
}

function foldersOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return []; // it went while it was looked at
  }
}
