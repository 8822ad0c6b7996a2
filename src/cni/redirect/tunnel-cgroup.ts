/**
 * The cgroup2 folder of a tunnel process, found by its pid. What is attached there and exempted by it reaches exactly the
 * tunnel, so a folder that holds anything else is refused.
 * Source: cgroups(7), /proc/<pid>/cgroup.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '../../core/errors.ts';

/** Absolute path of the cgroup2 folder of `pid`. Rejects with ERR_REDIRECT; `podsCgroup` is the folder of the node's pods. */
export async function findTunnelCgroup(pid: number, podsCgroup: string): Promise<string> {
  const mount = mountOf(podsCgroup, await readFile('/proc/self/mounts', 'utf8'));
  if (mount === undefined) throw new MeshError('ERR_REDIRECT', `${podsCgroup} is not in a cgroup2 file system`);
  const path = cgroup2Path(await readMembership(pid));
  if (path === undefined || path.split('/').includes('..')) {
    throw new MeshError(
      'ERR_REDIRECT',
      `the cgroup of tunnel process ${pid} is not visible; run the agent in the host's cgroup namespace`,
    );
  }
  const folder = path === '/' ? mount : join(mount, path);
  if (isBelowOrEqual(podsCgroup, folder)) {
    throw new MeshError(
      'ERR_REDIRECT',
      `tunnel process ${pid} shares the cgroup ${folder} with others; give it one of its own`,
    );
  }
  return folder;
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
  const targets = mounts.split('\n').flatMap((line) => {
    const [, target, type] = line.split(' ');
    return target !== undefined && type === 'cgroup2' && isBelowOrEqual(path, target) ? [target] : [];
  });
  return targets.sort((a, b) => b.length - a.length)[0];
}

function isBelowOrEqual(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

async function readMembership(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/cgroup`, 'utf8');
  } catch (cause) {
    throw new MeshError('ERR_REDIRECT', `tunnel process ${pid} is gone`, { cause });
  }
}
