/**
 * cgroup2 folders of a cluster: one per node, below it the pods' containers and the node's own components, so that
 * programs attached to a node's folder see that node's processes only. Killing goes through the folder: nothing that a
 * container started can hide from it.
 */
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoName, MeshError } from '../core/errors.ts';
import { run } from './process-runner.ts';

/** Where cgroup2 is mounted when the machine has none: only for our clusters, until the last one is removed. */
const OWN_MOUNT = '/run/culvert-cgroup2';
const REMOVE_ATTEMPTS = 200;
const REMOVE_RETRY_MS = 10;

/** The machine's cgroup2 mount; mounts one at `/run/culvert-cgroup2` when there is none. Rejects with ERR_SYSTEM. */
export async function ensureCgroup2(): Promise<string> {
  const found = findCgroup2(await readFile('/proc/mounts', 'utf8'));
  if (found !== undefined) return found;
  await mkdir(OWN_MOUNT, { recursive: true });
  await run('mount', ['-t', 'cgroup2', 'none', OWN_MOUNT]);
  return OWN_MOUNT;
}

/** Takes our own mount away when no cluster uses it any more. */
export async function releaseCgroup2(mount: string): Promise<void> {
  if (mount !== OWN_MOUNT) return;
  const used = (await readdir(mount)).some((name) => name.startsWith('culvert.'));
  if (used) return;
  await run('umount', [mount]);
  await rmdir(mount);
}

/** Mount point of the first cgroup2 file system in the text of /proc/mounts. */
export function findCgroup2(mounts: string): string | undefined {
  for (const line of mounts.split('\n')) {
    const [, point, type] = line.split(' ');
    if (type === 'cgroup2') return point;
  }
  return undefined;
}

/** Kills every process in a folder and below it, and removes the folders. A folder that is not there is fine. */
export async function removeCgroup(path: string): Promise<void> {
  await killCgroup(path);
  for (let attempt = 0; ; attempt++) {
    try {
      return await removeTree(path);
    } catch (error) {
      // EBUSY until the last killed process has been reaped
      if (errnoName(error) !== 'EBUSY' || attempt >= REMOVE_ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, REMOVE_RETRY_MS));
    }
  }
}

/** SIGKILL to every process in a folder and below it. */
export async function killCgroup(path: string): Promise<void> {
  try {
    await writeFile(join(path, 'cgroup.kill'), '1');
  } catch (error) {
    if (errnoName(error) !== 'ENOENT') throw new MeshError('ERR_SYSTEM', `cannot kill ${path}`, { cause: error });
  }
}

/** Process ids in a folder, without those below it. */
export async function processesOf(path: string): Promise<readonly number[]> {
  try {
    return (await readFile(join(path, 'cgroup.procs'), 'utf8')).split('\n').filter(Boolean).map(Number);
  } catch (error) {
    if (errnoName(error) === 'ENOENT' || errnoName(error) === 'ENODEV') return [];
    throw error;
  }
}

/** Makes a folder with its parents. */
export async function createCgroup(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
}

async function removeTree(path: string): Promise<void> {
  let entries: readonly string[];
  try {
    entries = (await readdir(path, { withFileTypes: true })).filter((e) => e.isDirectory()).map((e) => e.name);
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return;
    throw error;
  }
  for (const name of entries) await removeTree(join(path, name));
  await rmdir(path);
}
