/** Environment of a container: what is written, and facts of its pod (the downward API). */
import type { Container, EnvVar, Pod } from './kinds.ts';

/** A fact that nobody knows is empty. */
export function containerEnv(
  pod: Pod,
  { env = [] }: Pick<Container, 'env'>,
  ips: readonly string[],
): Readonly<Record<string, string>> {
  return Object.fromEntries(env.map((one) => [one.name, variableText(one, pod, ips)]));
}

function variableText({ value, valueFrom }: EnvVar, { metadata, spec }: Pod, ips: readonly string[]): string {
  switch (valueFrom?.fieldRef?.fieldPath) {
    case undefined:
      return value ?? '';
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? 'default';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'spec.serviceAccountName':
      return spec?.serviceAccountName ?? 'default';
    case 'spec.nodeName':
      return spec?.nodeName ?? '';
    case 'status.podIP':
      return ips[0] ?? '';
    case 'status.podIPs':
      return ips.join(',');
    default:
      return '';
  }
}
