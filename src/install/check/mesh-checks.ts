/** Checks of an installed mesh: its programs, its pods, and who watches it. Pure. */
import type { ApiObject } from '../cluster/cluster.ts';
import { rolloutOf } from '../cluster/rollout.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

const REDIRECTION = 'ambient.istio.io/redirection';
const MODE = 'istio.io/dataplane-mode';
const MAX_NAMED = 5;

/** Deployment and DaemonSets, by their names; undefined: it is missing. */
export function checkPrograms(programs: ReadonlyMap<string, ApiObject | undefined>): readonly Finding[] {
  return [...programs].map(([name, object]) => {
    if (object === undefined) return fault(`${name} is missing`, 'culvert install');
    const { ready, current, wanted } = rolloutOf(object);
    const counts = `${current} of ${wanted} pods`;
    return ready ? ok(`${name}: ${counts} ready`) : fault(`${name}: ${counts} ready`, 'culvert upgrade says why');
  });
}

/** Pods of a mesh with several versions of a program. */
export function checkImages(programs: ReadonlyMap<string, ApiObject | undefined>): readonly Finding[] {
  const tags = new Map<string, string>();
  for (const [name, object] of programs) {
    const spec = object?.spec as { template?: { spec?: { containers?: readonly { image?: string }[] } } } | undefined;
    const image = spec?.template?.spec?.containers?.[0]?.image;
    if (image !== undefined) tags.set(name, image.slice(image.lastIndexOf(':') + 1));
  }
  const versions = new Set(tags.values());
  if (versions.size <= 1) return [...versions].map((version) => ok(`version ${version} everywhere`));
  const list = [...tags].map(([name, tag]) => `${name} ${tag}`).join(', ');
  return [warning(`different versions: ${list}`, 'culvert upgrade')];
}

/** Pods that should be captured and are not, or whose tunnel has not answered. */
export function checkCapture(namespaces: readonly ApiObject[], pods: readonly ApiObject[]): readonly Finding[] {
  const ambient = new Set(
    namespaces.filter(({ metadata }) => metadata.labels?.[MODE] === 'ambient').map(({ metadata }) => metadata.name),
  );
  const wanted = pods.filter((pod) => isWanted(pod, ambient));
  if (wanted.length === 0) return [];
  const state = ({ metadata }: ApiObject) => metadata.annotations?.[REDIRECTION];
  const pending = wanted.filter((pod) => state(pod) === 'pending');
  const missing = wanted.filter((pod) => state(pod) === undefined);
  const findings: Finding[] = [];
  if (pending.length > 0) findings.push(fault(`captured, but no tunnel serves them: ${names(pending)}`));
  if (missing.length > 0) {
    findings.push(
      warning(`in the mesh by label, but not captured: ${names(missing)}`, 'look at the log of their agent'),
    );
  }
  return findings.length > 0 ? findings : [ok(`${wanted.length} pods are captured`)];
}

export function isWanted({ metadata, spec, status }: ApiObject, ambient: ReadonlySet<string>): boolean {
  const { hostNetwork } = (spec ?? {}) as { hostNetwork?: boolean };
  const { phase, podIP } = (status ?? {}) as { phase?: string; podIP?: string };
  if (hostNetwork === true || phase === 'Succeeded' || phase === 'Failed' || podIP === undefined) return false;
  if (metadata.annotations?.['sidecar.istio.io/status'] !== undefined) return false;
  const own = metadata.labels?.[MODE];
  return own === 'ambient' || (own !== 'none' && ambient.has(metadata.namespace ?? ''));
}

type ServiceMonitor = ApiObject & {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly namespaceSelector?: { readonly any?: boolean; readonly matchNames?: readonly string[] };
  };
};

/** A ServiceMonitor selects Services of its own namespace only, unless it says otherwise. */
export function checkMonitors(monitors: readonly ApiObject[], meshNamespace: string): readonly Finding[] {
  return (monitors as readonly ServiceMonitor[]).flatMap(({ metadata: { namespace, name }, spec }) => {
    const labels = spec?.selector?.matchLabels ?? {};
    if (labels.app !== 'istiod' && labels.istio !== 'pilot') return [];
    const { any, matchNames } = spec?.namespaceSelector ?? {};
    const isSeen = any === true || (matchNames?.includes(meshNamespace) ?? namespace === meshNamespace);
    if (isSeen) return [];
    const patch = { spec: { namespaceSelector: { matchNames: [meshNamespace] } } };
    const what = `ServiceMonitor ${namespace}/${name} does not look into ${meshNamespace}: nothing is scraped`;
    return [
      warning(what, `kubectl -n ${namespace} patch servicemonitor ${name} --type=merge -p '${JSON.stringify(patch)}'`),
    ];
  });
}

function names(pods: readonly ApiObject[]): string {
  const shown = pods.slice(0, MAX_NAMED).map(({ metadata: { namespace, name } }) => `${namespace}/${name}`);
  const more = pods.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
