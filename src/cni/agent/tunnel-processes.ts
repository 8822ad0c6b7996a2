/**
 * Which processes of the node are its tunnels, for an agent that cannot see the pid of who connects to its socket: it is
 * in a PID namespace of its own, and the node's processes are seen through a mount of the host's /proc.
 *
 * A tunnel is a process of a pod that the API names a tunnel, and that holds a connected SEQPACKET socket, which the
 * pause container of the same pod does not. Who may create pods in the mesh's own namespace decides what a tunnel is.
 * Source: proc_pid_net(5), `net/unix`; unix(7).
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from './pod.ts';
import { podUidOf, startTicksOf } from './procfs.ts';

const SEQPACKET = '0005';
const CONNECTED = '03';

/** Pids as `procDir` shows them, oldest process first. */
export function findTunnelProcesses(procDir: string, tunnelUids: ReadonlySet<string>): readonly number[] {
  const found: { readonly pid: number; readonly startTicks: number }[] = [];
  for (const name of readdirSync(procDir).filter((entry) => /^\d+$/.test(entry))) {
    const startTicks = startOfTunnel(join(procDir, name), tunnelUids);
    if (startTicks !== undefined) found.push({ pid: Number(name), startTicks });
  }
  return found.sort((a, b) => a.startTicks - b.startTicks).map(({ pid }) => pid);
}

/** A pod of the mesh's own namespace with the tunnel's label. */
export function isTunnelPod({ metadata }: Pod, systemNamespace: string): boolean {
  return metadata.namespace === systemNamespace && metadata.labels?.app === 'ztunnel';
}

/** Inodes of connected SEQPACKET sockets in the text of `/proc/<pid>/net/unix`. Total. */
export function connectedSeqpackets(text: string): ReadonlySet<string> {
  const rows = text.split('\n').map((line) => line.trim().split(/\s+/));
  return new Set(
    rows.flatMap(([, , , , type, state, inode]) =>
      type === SEQPACKET && state === CONNECTED && inode !== undefined ? [inode] : [],
    ),
  );
}

function startOfTunnel(dir: string, tunnelUids: ReadonlySet<string>): number | undefined {
  try {
    const uid = podUidOf(readFileSync(join(dir, 'cgroup'), 'utf8'));
    if (uid === undefined || !tunnelUids.has(uid)) return undefined;
    const inodes = connectedSeqpackets(readFileSync(join(dir, 'net/unix'), 'utf8'));
    const holds = readdirSync(join(dir, 'fd')).some((fd) => inodes.has(socketInode(join(dir, 'fd', fd))));
    return holds ? startTicksOf(readFileSync(join(dir, 'stat'), 'utf8')) : undefined;
  } catch {
    return undefined; // processes end while they are looked at
  }
}

function socketInode(link: string): string {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1] ?? '';
  } catch {
    return '';
  }
}
