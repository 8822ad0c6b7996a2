/**
 * Policies of tunnels that let nobody in but certain waypoints: a DENY of everybody else, and an ALLOW of them, without
 * which the ALLOW policies of the namespace would refuse them. A waypoint is known by the service account of its Gateway.
 */
import type { Authorization } from '../../model/authorization.ts';
import { identityPrincipal } from '../../model/identity.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type Gateway, namespaceOf } from '../resources.ts';
import type { ServedGateways } from './l7/served-gateways.ts';
import { matchOf } from './match.ts';

const SERVICE_ACCOUNT = 'gateway.istio.io/service-account';
const ALLOW = 'culvert_allow_waypoint:';
const DENY = 'culvert_deny_all_but_waypoint:';

/** Keys for a set of waypoints; an empty set lets nobody in. */
export function requirementKeys(waypoints: readonly string[]): readonly string[] {
  const [first = ''] = waypoints;
  const namespace = first.slice(0, first.indexOf('/')) || NOBODY;
  const set = [...waypoints].sort().join('+');
  return [`${namespace}/${ALLOW}${set}`, `${namespace}/${DENY}${set}`];
}

/** The namespace under which the policy of an empty set is told. */
const NOBODY = 'culvert-system';

export function isRequirement(key: string): boolean {
  return key.includes(`/${ALLOW}`) || key.includes(`/${DENY}`);
}

/** The policies that these keys name; other keys are passed over. */
export function requirementPolicies(
  keys: Iterable<string>,
  served: ServedGateways,
  settings: MeshSettings,
): readonly Authorization[] {
  return [...new Set(keys)].flatMap((key): readonly Authorization[] => {
    const slash = key.indexOf('/');
    const name = key.slice(slash + 1);
    const prefix = [ALLOW, DENY].find((one) => name.startsWith(one));
    if (prefix === undefined) return [];
    const principals = name
      .slice(prefix.length)
      .split('+')
      .flatMap((waypoint) => {
        const gateway = served.get(waypoint)?.gateway;
        return gateway ? [{ kind: 'exact' as const, value: gatewayPrincipal(gateway, settings) }] : [];
      });
    const common = { name, namespace: key.slice(0, slash), scope: 'WORKLOAD_SELECTOR', dryRun: false } as const;
    if (prefix === ALLOW) {
      const rules = principals.length > 0 ? [{ clauses: [{ matches: [matchOf({ principals })] }] }] : [];
      return [{ ...common, action: 'ALLOW', rules }];
    }
    const clauses = principals.length > 0 ? [{ matches: [matchOf({ notPrincipals: principals })] }] : [];
    return [{ ...common, action: 'DENY', rules: [{ clauses }] }];
  });
}

/** SPIFFE id of a gateway's replicas, without its scheme. */
export function gatewayPrincipal(gateway: Gateway, { trustDomain }: Pick<MeshSettings, 'trustDomain'>): string {
  const serviceAccount = gateway.metadata.annotations?.[SERVICE_ACCOUNT] ?? gateway.metadata.name;
  return identityPrincipal({ trustDomain, namespace: namespaceOf(gateway), serviceAccount });
}
