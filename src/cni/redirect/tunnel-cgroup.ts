/**
 * The cgroup2 folder of a tunnel process, found by its pid. What is attached there and exempted by it reaches exactly the
 * tunnel, so a folder that holds anything else is refused.
 * An agent in a cgroup namespace of its own (the rule on nodes with cgroup v2) is told paths that climb out of it; what
 * follows is looked for below the folder of the pods, where names of containers are unique.
 * Source: cgroups(7), cgroup_namespaces(7), /proc/<pid>/cgroup.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { MeshError } from '../../core/errors.ts';
import { findFolder, mountsOf } from './pods-cgroup.ts';

export interface CgroupPlace {
  /** The folder of the node's pods. */
  readonly podsCgroup: string;
  /** Where the processes are seen under the pids that are asked for. */
  readonly procDir: string;
}

/** Absolute path of the cgroup2 folder of `pid`. Rejects with ERR_REDIRECT. */
export async function findTunnelCgroup(pid: number, { podsCgroup, procDir }: CgroupPlace): Promise<string> {
  const mount = mountOf(podsCgroup, await readFile('/proc/self/mounts', 'utf8'));
  if (mount === undefined) throw new MeshError('ERR_REDIRECT', `${podsCgroup} is not in a cgroup2 file system`);
  const path = cgroup2Path(await readMembership(procDir, pid));
  const folder = path === undefined ? undefined : folderOf(mount, podsCgroup, path);
  if (folder === undefined) {
    throw new MeshError('ERR_REDIRECT', `the cgroup of tunnel process ${pid} is not visible below ${podsCgroup}`);
  }
  if (isBelowOrEqual(podsCgroup, folder)) {
    throw new MeshError(
      'ERR_REDIRECT',
      `tunnel process ${pid} shares the cgroup ${folder} with others; give it one of its own`,
    );
  }
  return folder;
}

/** A path that climbs out of this process's own cgroup is found by its last two names. */
function folderOf(mount: string, podsCgroup: string, path: string): string | undefined {
  if (!path.split('/').includes('..')) return path === '/' ? mount : join(mount, path);
  const name = basename(path);
  const folder = name === '..' ? undefined : findFolder(podsCgroup, (candidate) => candidate === name);
  const parent = basename(dirname(path));
  return folder !== undefined && (parent === '..' || basename(dirname(folder)) === parent) ? folder : undefined;
}

/** The path behind `0::` in the text of /proc/<pid>/cgroup. Total. */
export function cgroup2Path(membership: string): string | undefined {
  const path = membership
    .split('\n')
    .find((line) => line.startsWith('0::'))
    ?.slice(3);
  return path?.startsWith('/') ? path.replace(/ \(deleted\)$/, '') : undefined;
}

/** The cgroup2 mount that holds `path`, by the text of /proc/self/mounts. Total. */
export function mountOf(path: string, mounts: string): string | undefined {
  return mountsOf(mounts)
    .filter((target) => isBelowOrEqual(path, target))
    .sort((a, b) => b.length - a.length)[0];
}

function isBelowOrEqual(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

async function readMembership(procDir: string, pid: number): Promise<string> {
  try {
    return await readFile(join(procDir, String(pid), 'cgroup'), 'utf8');
  } catch (cause) {
    throw new MeshError('ERR_REDIRECT', `tunnel process ${pid} is gone`, { cause });
  }
}
