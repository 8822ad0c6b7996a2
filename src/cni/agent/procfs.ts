/**
 * Finds the network namespaces of running pods in procfs: the cgroup of a process names its pod.
 *
 * Invariants
 *  - A namespace counts as a pod's only when one of the pod's addresses is assigned in it.
 *  - The node's own namespace is no pod's.
 *  - Among several namespaces of one pod that of the oldest process wins.
 * Source: Istio node agent behaviour; proc_pid_stat(5), cgroups(7).
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { localAddresses, Netns } from 'culvert-netns';
import { canonicalIps } from './pod-address.ts';

export interface ProcfsOptions {
  readonly procDir: string;
  /** Only processes below this cgroup folder are looked at; undefined: all. */
  readonly kubepodsCgroup: string | undefined;
}

/** A namespace that processes of the pod are in. */
export interface NetnsCandidate {
  readonly path: string;
  readonly id: string;
  readonly startTicks: number;
}

/** Candidates by pod UID, oldest process first. One pass over all processes. */
export function scanProcfs({ procDir, kubepodsCgroup }: ProcfsOptions): ReadonlyMap<string, readonly NetnsCandidate[]> {
  const own = namespaceId(join(procDir, '1/ns/net')); // the node's, also when the agent has one of its own
  const found = new Map<string, NetnsCandidate[]>();
  for (const name of readdirSync(procDir)) {
    if (!/^\d+$/.test(name)) continue;
    const candidate = readProcess(join(procDir, name), kubepodsCgroup);
    if (candidate === undefined || candidate.id === own) continue;
    const candidates = found.get(candidate.uid) ?? [];
    candidates.push(candidate);
    found.set(candidate.uid, candidates);
  }
  for (const candidates of found.values()) candidates.sort((a, b) => a.startTicks - b.startTicks);
  return found;
}

/** Opens the first candidate that really carries one of `ips`; the caller disposes of it. Undefined when none does. */
export function openPodNetns(candidates: readonly NetnsCandidate[], ips: readonly string[]): Netns | undefined {
  const rejected = new Set<string>();
  for (const { path, id } of candidates) {
    if (rejected.has(id)) continue;
    try {
      const netns = Netns.open(path);
      if (carriesAny(netns, ips)) return netns;
      netns[Symbol.dispose]();
    } catch {
      continue; // the process is gone; another of the pod may be there
    }
    rejected.add(id);
  }
  return undefined;
}

/** Whether one of the addresses is assigned to an interface of the namespace. */
export function carriesAny(netns: Netns, ips: readonly string[]): boolean {
  const assigned = new Set(canonicalIps(localAddresses(netns)));
  return ips.some((ip) => assigned.has(ip));
}

function readProcess(dir: string, kubepods: string | undefined): (NetnsCandidate & { uid: string }) | undefined {
  try {
    const uid = podUidOf(readFileSync(join(dir, 'cgroup'), 'utf8'), kubepods);
    if (uid === undefined) return undefined;
    const path = join(dir, 'ns/net');
    const startTicks = startTicksOf(readFileSync(join(dir, 'stat'), 'utf8'));
    const id = namespaceId(path);
    return id === undefined || startTicks === undefined ? undefined : { uid, path, id, startTicks };
  } catch {
    return undefined; // processes end while they are looked at
  }
}

function namespaceId(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** `pod`, a UUID with any punctuation or any other UID as a whole path part, then the container. */
const UUID_PART = /pod([0-9a-f]{8}[-_.]?[0-9a-f]{4}[-_.]?[0-9a-f]{4}[-_.]?[0-9a-f]{4}[-_.]?[0-9a-f]{12})/;
const PLAIN_PART = /^pod([A-Za-z0-9][A-Za-z0-9-]*)$/;

/** The pod UID that the text of `/proc/<pid>/cgroup` names; undefined outside of pods. Total. */
export function podUidOf(cgroup: string, kubepods?: string): string | undefined {
  for (const line of cgroup.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (!path.startsWith('/')) continue;
    const parts = path.split('/').slice(1);
    const uuid = parts.findIndex((part) => UUID_PART.test(part)); // a folder above may well be called `pods`
    const index = uuid < 0 ? parts.findIndex((part) => PLAIN_PART.test(part)) : uuid;
    if (index < 0 || !isBelow(parts.slice(0, index), kubepods)) continue;
    return uidOfPart(parts[index] ?? '');
  }
  return undefined;
}

function uidOfPart(part: string): string | undefined {
  const uuid = UUID_PART.exec(part)?.[1]?.replaceAll(/[-_.]/g, '');
  if (uuid !== undefined) return uuid.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return PLAIN_PART.exec(part)?.[1];
}

/** Process paths are relative to the cgroup mount, `kubepods` is absolute: one of the parents must be its end. */
function isBelow(parents: readonly string[], kubepods: string | undefined): boolean {
  if (kubepods === undefined) return true;
  return parents.some((_, index) => kubepods.endsWith(`/${parents.slice(0, index + 1).join('/')}`));
}

/** Field 22 of `/proc/<pid>/stat`, behind the command's closing parenthesis. Total. */
export function startTicksOf(stat: string): number | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[19]);
  return Number.isFinite(ticks) && fields.length > 19 ? ticks : undefined;
}
