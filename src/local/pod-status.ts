/** Status of a pod as the kubelet writes it, from plain facts. */
import type { Condition, Container, Pod, PodStatus } from './kinds.ts';

export interface ContainerFacts {
  readonly name: string;
  readonly running: boolean;
  /** The probe's last word; a container without a probe is ready while it runs. */
  readonly ready: boolean;
  readonly restarts: number;
  readonly exitCode?: number;
}

export interface PodFacts {
  readonly hostIp: string;
  readonly ips: readonly string[];
  readonly containerId?: string;
  readonly containers: readonly ContainerFacts[];
  /** Why there is no sandbox yet. */
  readonly waiting?: string;
}

/** The whole status. `now` is an RFC 3339 time for conditions that change. */
export function podStatus(pod: Pod, facts: PodFacts, now: string): PodStatus & Readonly<Record<string, unknown>> {
  const before = pod.status?.conditions ?? [];
  const expected = pod.spec?.containers ?? [];
  const ready = facts.containers.length === expected.length && facts.containers.every((c) => c.running && c.ready);
  const condition = (type: string, holds: boolean, message?: string): Condition => {
    const status = holds ? 'True' : 'False';
    const old = before.find((c) => c.type === type);
    const since = old?.status === status && old.lastTransitionTime !== undefined ? old.lastTransitionTime : now;
    return { type, status, lastTransitionTime: since, ...(message === undefined ? {} : { message }) };
  };
  const hasSandbox = facts.ips.length > 0;
  return {
    phase: podPhase(pod, facts, expected),
    hostIP: facts.hostIp,
    ...(hasSandbox ? { podIP: facts.ips[0] ?? '', podIPs: facts.ips.map((ip) => ({ ip })) } : {}),
    conditions: [
      condition('PodScheduled', true),
      condition('PodReadyToStartContainers', hasSandbox, facts.waiting),
      condition('Initialized', hasSandbox),
      condition('ContainersReady', ready),
      condition('Ready', ready),
    ],
    containerStatuses: facts.containers.map((container) => ({
      name: container.name,
      ready: container.running && container.ready,
      restartCount: container.restarts,
      ...(facts.containerId === undefined ? {} : { containerID: `culvert://${facts.containerId}` }),
      state: container.running ? { running: {} } : { terminated: { exitCode: container.exitCode ?? 0 } },
    })),
  };
}

function podPhase(pod: Pod, { containers }: PodFacts, expected: readonly Container[]): NonNullable<PodStatus['phase']> {
  if (containers.length < expected.length) return 'Pending';
  if (containers.some((container) => container.running)) return 'Running';
  const policy = pod.spec?.restartPolicy ?? 'Always';
  if (policy === 'Always' || containers.length === 0) return 'Running';
  const failed = containers.some((container) => (container.exitCode ?? 0) !== 0);
  if (failed) return policy === 'Never' ? 'Failed' : 'Running';
  return 'Succeeded';
}
