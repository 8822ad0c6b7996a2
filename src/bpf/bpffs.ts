/** The bpf file system: what is pinned there outlives the process. */
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errorMessage, MeshError } from '../core/errors.ts';

const BPFFS = '/sys/fs/bpf';
const LOCK = '/run/lock/culvert-bpffs';
const MOUNT_COMMAND = `mountpoint -q ${BPFFS} || mount -t bpf bpf ${BPFFS}`;
const MOUNT_TIMEOUT_MS = 10_000;
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Whether `path` lies in a bpf file system, by the text of /proc/mounts. Pure. */
export function isOnBpffs(path: string, mounts: string): boolean {
  let longest = '';
  let type = '';
  for (const line of mounts.split('\n')) {
    const [, target, fsType] = line.split(' ');
    if (target === undefined || fsType === undefined || target.length < longest.length) continue;
    if (path === target || path.startsWith(target === '/' ? '/' : `${target}/`)) {
      longest = target;
      type = fsType;
    }
  }
  return type === 'bpf';
}

/**
 * Makes sure that pins can be made under `path`: mounts /sys/fs/bpf when it is not mounted. The mount lasts as long as
 * the mount namespace of the caller. Rejects with ERR_UNSUPPORTED when `path` is still not in a bpf file system.
 */
export async function ensureBpffs(path: string = BPFFS): Promise<void> {
  if (isOnBpffs(path, await readFile('/proc/self/mounts', 'utf8'))) return;
  if (path === BPFFS || path.startsWith(`${BPFFS}/`)) await mountBpffs();
  if (isOnBpffs(path, await readFile('/proc/self/mounts', 'utf8'))) return;
  throw new MeshError(
    'ERR_UNSUPPORTED',
    `${path} is not in a bpf file system; mount one there: mount -t bpf bpf <folder>`,
  );
}

/** Under a lock, because a second mount would hide the pins of the first. */
async function mountBpffs(): Promise<void> {
  try {
    await mkdir('/run/lock', { recursive: true });
    await promisify(execFile)('flock', [LOCK, 'sh', '-c', MOUNT_COMMAND], {
      timeout: MOUNT_TIMEOUT_MS,
      env: { PATH: SYSTEM_PATH },
    });
  } catch (cause) {
    throw new MeshError('ERR_UNSUPPORTED', `cannot mount a bpf file system at ${BPFFS}: ${errorMessage(cause)}`, {
      cause,
    });
  }
}
