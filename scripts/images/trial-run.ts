/**
 * Runs what an image holds the way a node would: its root file system, read-only, with /proc and an empty /tmp. Shows
 * that no library is missing, and how long the program takes to load.
 */
import { spawnSync } from 'node:child_process';

export interface Trial {
  readonly status: number | null;
  readonly output: string;
  readonly milliseconds: number;
}

const MOUNT_AND_RUN = `
mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/tmp" &&
mount -t tmpfs -o ro tmpfs "$1/dev" && mount -o remount,bind,ro "$1" && shift && exec chroot "$@"`;
const TRIAL_MS = 60_000;

/** Root only. Everything mounted goes with the process. */
export function runInside(
  root: string,
  command: readonly string[],
  { user = '0:0', env = {} }: { readonly user?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Trial {
  const started = performance.now();
  const script = ['sh', '-c', MOUNT_AND_RUN, '-', root, `--userspec=${user}`, root, ...command];
  const run = spawnSync('unshare', ['--mount', '--pid', '--fork', '--kill-child', ...script], {
    ...{ encoding: 'utf8', timeout: TRIAL_MS },
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
  });
  const output = `${run.stdout}${run.stderr}${run.error?.message ?? ''}`.trim();
  return { status: run.status, output, milliseconds: Math.round(performance.now() - started) };
}
