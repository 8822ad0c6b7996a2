/** What all workloads of a namespace share, for every namespace that has anything. */
import type { MeshSettings } from '../mesh-settings.ts';
import type { PeerAuthentication } from '../resources.ts';
import type { TranslatedPolicy } from './authorization-policy.ts';
import { groupBy } from './group-by.ts';
import type { ServedGateways } from './l7/served-gateways.ts';
import type { Memo } from './memo.ts';
import { translatePeerAuthentications } from './peer-authentication.ts';
import type { NamespaceScope } from './pod-workload.ts';
import type { ServiceInfo } from './service-info.ts';
import type { WaypointAllows } from './waypoint-allow.ts';

export interface Policies {
  readonly translated: readonly TranslatedPolicy[];
  readonly peerByNamespace: ReadonlyMap<string, readonly PeerAuthentication[]>;
}

export type Scopes = ReadonlyMap<string, NamespaceScope>;

export interface ScopeSurroundings {
  readonly settings: MeshSettings;
  readonly served: ServedGateways;
  readonly waypointAllows: WaypointAllows;
  readonly infos: readonly ServiceInfo[];
  readonly policies: Policies;
  readonly around: (namespace: string) => Pick<NamespaceScope, 'settings' | 'network' | 'namespace' | 'waypoints'>;
}

/** A namespace for which nothing changed keeps its scope. */
export function namespaceScopes(memo: Memo, namespaces: readonly string[], given: ScopeSurroundings): Scopes {
  const { settings, served, waypointAllows, infos, policies, around } = given;
  const { rootNamespace } = settings;
  const servicesOf = groupBy(infos, (info) => info.service.namespace);
  const selected = policies.translated.flatMap(({ selector }) => (selector ? [selector] : []));
  const policiesOf = groupBy(selected, ({ key }) => key.slice(0, key.indexOf('/')));
  const meshWide = policies.peerByNamespace.get(rootNamespace) ?? [];
  const scopeOf = (namespace: string): NamespaceScope => {
    const own = policies.peerByNamespace.get(namespace) ?? [];
    const peer = memo.get(`peer ${namespace}`, [own, meshWide], () =>
      translatePeerAuthentications(own, meshWide, settings, namespace),
    );
    const ofRoot = namespace === rootNamespace ? [] : (policiesOf.get(rootNamespace) ?? []);
    const services = servicesOf.get(namespace) ?? [];
    const listed = [...(policiesOf.get(namespace) ?? []), ...ofRoot];
    const near = around(namespace);
    const places = [near.network, near.namespace, near.waypoints];
    return memo.get(`scope ${namespace}`, [...places, services, listed, peer, waypointAllows, served], () => ({
      ...near,
      services,
      policies: { selected: listed, peer },
      waypointAllows,
      isServed: (key: string) => served.has(key),
    }));
  };
  return new Map(namespaces.map((namespace) => [namespace, scopeOf(namespace)]));
}
