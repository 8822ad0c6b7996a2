/** `culvert local status`: the state of a cluster as text. */
import { type ClusterPlan, type ClusterState, clusterIps, isReady, type Pod, podIps } from '../local/index.ts';
import type { ClusterView } from './local-pods.ts';

export interface StatusView extends ClusterView {
  readonly plan: ClusterPlan;
  readonly state: ClusterState;
  readonly supervised: boolean;
}

export function printStatus(view: StatusView): void {
  console.log(statusText(view));
}

/** The whole report. */
export function statusText({ plan, state, supervised, pods, services, problems }: StatusView): string {
  const phase = supervised ? state.phase : 'its supervisor is gone; end it with: culvert local down';
  const lines = [`cluster ${plan.name}: ${phase}`, `resources: ${plan.resourceDir}`, ''];
  lines.push(
    ...table(
      ['NODE', 'IPV4', 'PODS', 'NAMESPACE'],
      plan.nodes.map((node) => [node.name, node.ipv4, node.podCidr4, node.netns]),
    ),
  );
  if (state.components.length > 0) {
    const rows = state.components.map(({ name, pid, restarts }) => [
      name,
      pid === undefined ? '-' : String(pid),
      String(restarts),
    ]);
    lines.push('', ...table(['COMPONENT', 'PID', 'RESTARTS'], rows));
  }
  const sorted = pods.toSorted((a, b) => podName(a).localeCompare(podName(b)));
  lines.push(
    '',
    ...table(
      ['POD', 'NODE', 'IP', 'STATE', 'MESH'],
      sorted.map((pod) => [
        podName(pod),
        pod.spec?.nodeName ?? '-',
        podIps(pod)[0] ?? '-',
        podState(pod),
        meshState(pod),
      ]),
    ),
  );
  const rows = services.map((service) => [
    `${service.metadata.namespace}/${service.metadata.name}`,
    clusterIps(service)[0] ?? 'None',
    (service.spec?.ports ?? []).map(({ port }) => port).join(','),
  ]);
  lines.push('', ...table(['SERVICE', 'CLUSTER-IP', 'PORTS'], rows));
  if (problems.length > 0) {
    lines.push('', 'problems:', ...problems.map(({ file, line, reason }) => `  ${file}:${line}: ${reason}`));
  }
  return lines.join('\n');
}

function podName({ metadata }: Pod): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function podState(pod: Pod): string {
  if (pod.metadata.deletionTimestamp !== undefined) return 'Terminating';
  return isReady(pod) ? 'Ready' : (pod.status?.phase ?? 'Pending');
}

function meshState({ metadata }: Pod): string {
  return metadata.annotations?.['ambient.istio.io/redirection'] ?? '-';
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
