/**
 * Which pods are in the mesh: pure decisions over a pod and its namespace.
 * Source: Istio node agent behaviour; label and annotation names are Istio's.
 */
import { parse } from 'yaml';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { type LabelSelector, matchesLabels, parseLabelSelector } from './label-selector.ts';
import { isTerminal, type Namespace, type Pod } from './pod.ts';

/** Both selectors of one entry must match. */
export interface EnablementSelector {
  readonly podSelector: LabelSelector;
  readonly namespaceSelector: LabelSelector;
}

export interface EnrolmentRules {
  /** One entry that matches is enough. */
  readonly selectors: readonly EnablementSelector[];
  readonly excludedNamespaces: ReadonlySet<string>;
  /** Namespace of the mesh's own programs. */
  readonly systemNamespace: string;
}

export type Enrolment = { readonly wanted: true } | { readonly wanted: false; readonly reason: string };

const MODE_LABEL = 'istio.io/dataplane-mode';
const SIDECAR_ANNOTATION = 'sidecar.istio.io/status';

/** By label of the pod, or by label of the namespace unless the pod opts out. */
export const DEFAULT_SELECTORS: readonly EnablementSelector[] = [
  { podSelector: { matchLabels: { [MODE_LABEL]: 'ambient' } }, namespaceSelector: {} },
  {
    podSelector: { matchExpressions: [{ key: MODE_LABEL, operator: 'NotIn', values: ['none'] }] },
    namespaceSelector: { matchLabels: { [MODE_LABEL]: 'ambient' } },
  },
];

/** Total: a pod whose namespace is not known has one without labels. */
export function decideEnrolment(pod: Pod, namespace: Namespace | undefined, rules: EnrolmentRules): Enrolment {
  const { namespace: namespaceName = 'default', labels, annotations = {} } = pod.metadata;
  if (pod.spec?.hostNetwork) return no('host network');
  if (Object.hasOwn(annotations, SIDECAR_ANNOTATION)) return no('has a sidecar');
  if (namespaceName === rules.systemNamespace && labels?.app === 'ztunnel') return no('is the tunnel');
  if (rules.excludedNamespaces.has(namespaceName)) return no('namespace is excluded');
  if (isTerminal(pod)) return no('has ended');
  const selected = rules.selectors.some(
    ({ podSelector, namespaceSelector }) =>
      matchesLabels(podSelector, labels) && matchesLabels(namespaceSelector, namespace?.metadata.labels),
  );
  return selected ? { wanted: true } : no('not selected');
}

/** Reads AMBIENT_ENABLEMENT_SELECTOR: a YAML list. Throws ERR_MALFORMED. */
export function parseSelectors(text: string): readonly EnablementSelector[] {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', `not YAML: ${errorMessage(cause)}`, { cause });
  }
  if (!Array.isArray(value)) throw new MeshError('ERR_MALFORMED', 'expected a YAML list of selectors');
  return value.map((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null)
      throw new MeshError('ERR_MALFORMED', 'a selector is not an object');
    const { podSelector, namespaceSelector } = entry as Record<string, unknown>;
    return {
      podSelector: parseLabelSelector(podSelector),
      namespaceSelector: parseLabelSelector(namespaceSelector),
    };
  });
}

function no(reason: string): Enrolment {
  return { wanted: false, reason };
}
