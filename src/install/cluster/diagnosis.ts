/** Why a pod is not ready, in words that say what to do. Pure: states and events in, sentences out. */
import type { ApiObject } from './cluster.ts';

interface ContainerState {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: StateParts;
  readonly lastState?: StateParts;
}

interface StateParts {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly terminated?: { readonly reason?: string; readonly exitCode?: number };
}

interface PodStatus {
  readonly phase?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  readonly containerStatuses?: readonly ContainerState[];
}

export interface PodProblem {
  readonly pod: string;
  readonly node: string;
  readonly text: string;
  /** The container whose log says more. */
  readonly crashed?: string;
  /** Usual while a program starts; worth telling when it does not end. */
  readonly usual?: boolean;
}

const HINTS: Readonly<Record<string, string>> = {
  ErrImagePull: 'is the image in the registry, and may the node pull it? See --hub, --tag and global.imagePullSecrets',
  ImagePullBackOff:
    'is the image in the registry, and may the node pull it? See --hub, --tag and global.imagePullSecrets',
  ErrImageNeverPull: 'the image is not on the node',
  InvalidImageName: 'look at --hub and --tag',
  CreateContainerConfigError: 'a ConfigMap or Secret that the pod names is missing',
};
const MAX_EVENT_CHARS = 400;

export function podProblems(pod: ApiObject, events: readonly ApiObject[]): readonly PodProblem[] {
  const status = (pod.status ?? {}) as PodStatus;
  const conditions = status.conditions ?? [];
  if (pod.metadata.deletionTimestamp !== undefined) return [];
  if (conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True')) return [];
  const place = {
    pod: pod.metadata.name,
    node: (pod.spec as { nodeName?: string } | undefined)?.nodeName ?? 'no node',
  };
  const unscheduled = conditions.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  if (unscheduled) return [{ ...place, text: `cannot be placed: ${unscheduled.message ?? 'no reason is given'}` }];
  const found = (status.containerStatuses ?? []).flatMap((container) => containerProblem(container, place));
  if (status.reason) found.push({ ...place, text: `${status.reason}: ${status.message ?? ''}` });
  return found.length > 0
    ? found
    : lastWarning(events).map((text) => ({ ...place, text, usual: text.startsWith('Unhealthy') }));
}

function containerProblem(
  { name, state, lastState, restartCount = 0 }: ContainerState,
  place: { readonly pod: string; readonly node: string },
): PodProblem[] {
  const { reason, message } = state?.waiting ?? {};
  const ended = state?.terminated ?? lastState?.terminated;
  if (ended && restartCount + (state?.terminated ? 1 : 0) > 0) {
    const exit = `${ended.reason ?? 'ended'} with ${ended.exitCode ?? 'no status'}`;
    return [{ ...place, text: `${name} crashes (${exit}, ${restartCount} restarts)`, crashed: name }];
  }
  if (reason === undefined || reason === 'ContainerCreating' || reason === 'PodInitializing') return [];
  const hint = HINTS[reason];
  const said = message === undefined ? '' : `: ${message}`;
  return [{ ...place, text: `${name}: ${reason}${said}${hint === undefined ? '' : ` (${hint})`}` }];
}

function lastWarning(events: readonly ApiObject[]): string[] {
  const warnings = (events as readonly (ApiObject & { type?: string; reason?: string; message?: string })[]).filter(
    ({ type }) => type === 'Warning',
  );
  const last = warnings.at(-1);
  return last ? [`${last.reason ?? 'warning'}: ${(last.message ?? '').slice(0, MAX_EVENT_CHARS)}`] : [];
}
