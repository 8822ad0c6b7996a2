/**
 * PeerAuthentication to policies: "no identity" is all that the tunnels know of plain text, so STRICT is a DENY of
 * callers without one. Source: Istio control plane, policies `istio_converted_static_strict` and
 * `converted_peer_authentication_<name>`; a workload lists what was really made, and DISABLE on a port is an exemption
 * like PERMISSIVE also where STRICT is inherited.
 */
import { type Authorization, authorizationKey, type Rule } from '../../model/authorization.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { byAge, namespaceOf, type PeerAuthentication } from '../resources.ts';
import { matchOf } from './match.ts';
import { isSubset, type Labels } from './selector.ts';

type Mode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

export interface PeerScope {
  /** What holds where no workload-level object says otherwise. */
  readonly strict: boolean;
  readonly staticKey: string;
  /** Oldest first. */
  readonly workloads: readonly WorkloadPeerPolicy[];
}

export interface WorkloadPeerPolicy {
  readonly selector: Labels;
  readonly strict: boolean;
  /** Made because of port exceptions; says all there is to say about the workload. */
  readonly converted: Authorization | undefined;
}

const PRESENCE = matchOf({ notPrincipals: [{ kind: 'presence' }] });

/** Referenced by workloads that are strict on all ports. */
export function staticStrictPolicy({ rootNamespace }: MeshSettings): Authorization {
  return {
    name: 'istio_converted_static_strict',
    namespace: rootNamespace,
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    rules: [{ clauses: [{ matches: [PRESENCE] }] }],
    dryRun: false,
  };
}

/** What holds in one namespace. `meshWide` are those of the root namespace. */
export function translatePeerAuthentications(
  own: readonly PeerAuthentication[],
  meshWide: readonly PeerAuthentication[],
  settings: MeshSettings,
  namespace: string,
): PeerScope {
  const inRoot = namespace === settings.rootNamespace;
  const mesh = modeOf(oldestWithoutSelector(meshWide));
  const ofNamespace = inRoot ? 'UNSET' : modeOf(oldestWithoutSelector(own));
  const strict = (ofNamespace === 'UNSET' ? mesh : ofNamespace) === 'STRICT';
  const selected = inRoot ? [] : own.filter(({ spec }) => spec?.selector !== undefined);
  return {
    strict,
    staticKey: authorizationKey(staticStrictPolicy(settings)),
    workloads: [...selected].sort(byAge).map((object) => toWorkloadPolicy(object, strict)),
  };
}

/** Keys that a workload of these labels lists. */
export function peerAuthenticationKeys({ strict, staticKey, workloads }: PeerScope, labels: Labels): readonly string[] {
  const own = workloads.find(({ selector }) => isSubset(selector, labels));
  if (own?.converted) return [authorizationKey(own.converted)];
  return (own?.strict ?? strict) ? [staticKey] : [];
}

function oldestWithoutSelector(objects: readonly PeerAuthentication[]): PeerAuthentication | undefined {
  return objects.filter(({ spec }) => spec?.selector === undefined).sort(byAge)[0];
}

function modeOf(object: PeerAuthentication | undefined): Mode {
  return object?.spec?.mtls?.mode ?? 'UNSET';
}

/** Of the policy made from a PeerAuthentication. */
export function convertedName(name: string): string {
  return `converted_peer_authentication_${name}`;
}

function toWorkloadPolicy(object: PeerAuthentication, inherited: boolean): WorkloadPeerPolicy {
  const mode = modeOf(object);
  const strict = mode === 'UNSET' ? inherited : mode === 'STRICT';
  const ports = Object.entries(object.spec?.portLevelMtls ?? {})
    .map(([port, mtls]) => ({ port: Number(port), mode: mtls.mode ?? 'UNSET' }))
    .filter(({ port }) => port > 0 && port <= 65_535)
    .sort((a, b) => a.port - b.port);
  const selector = object.spec?.selector?.matchLabels ?? {};
  const rules = strict ? strictRules(ports, mode === 'UNSET') : permissiveRules(ports);
  if (rules.length === 0) return { selector, strict, converted: undefined };
  const converted: Authorization = {
    name: convertedName(object.metadata.name),
    namespace: namespaceOf(object),
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    rules,
    dryRun: false,
  };
  return { selector, strict, converted };
}

interface PortMode {
  readonly port: number;
  readonly mode: Mode;
}

/** Deny callers without identity, except on the exempt ports. None when no port is exempt. */
function strictRules(ports: readonly PortMode[], inherited: boolean): readonly Rule[] {
  const exempt = ports.filter(({ mode }) => mode === 'PERMISSIVE' || mode === 'DISABLE');
  if (exempt.length === 0) return [];
  const presence = { matches: [PRESENCE] };
  const exceptions = exempt.map(({ port }) => ({ matches: [matchOf({ notDestinationPorts: [port] })] }));
  return [{ clauses: inherited ? [...exceptions, presence] : [presence, ...exceptions] }];
}

/** Deny callers without identity on each strict port. */
function permissiveRules(ports: readonly PortMode[]): readonly Rule[] {
  return ports
    .filter(({ mode }) => mode === 'STRICT')
    .map(({ port }) => ({ clauses: [{ matches: [matchOf({ ...PRESENCE, destinationPorts: [port] })] }] }));
}
