/**
 * Whether a policy forbids a connection that goes in clear: STRICT mutual TLS, or a DENY that covers a caller without
 * identity. Pure. Only such connections are judged here; everything else passes the tunnel, which judges it itself.
 * Source: Istio API, PeerAuthentication and AuthorizationPolicy as the node tunnel enforces them: what it cannot check
 * in a DENY is passed over, and a part that says nothing else matches nothing.
 */
import type { KubeObject } from '../../kube/index.ts';
import { type CompiledRange, compileRange, ipFamily, parseIp, rangeContains } from '../../model/ip.ts';
import {
  type AuthorizationPolicySpec,
  type AuthorizationRule,
  type AuthorizationSource,
  type PeerAuthenticationSpec,
  type RefusedPolicy,
  readablePolicy,
} from '../../schema/index.ts';

export interface PeerAuthentication extends KubeObject {
  readonly spec?: PeerAuthenticationSpec;
}

export interface AuthorizationPolicy extends KubeObject {
  readonly spec?: AuthorizationPolicySpec;
}

export interface PolicySet {
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  /** Those that cannot be understood: they may forbid anything to every pod that they may hold for. */
  readonly refused?: readonly KubeObject[];
  readonly rootNamespace: string;
}

export interface Receiver {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** An inbound connection without identity. */
export interface ClearCall {
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly port: number;
}

/** `STRICT`, or the name of the policy that denies; undefined when the call may go on. Total. */
export function findClearFault(policies: PolicySet, receiver: Receiver, call: ClearCall): string | undefined {
  if (isStrict(policies, receiver, call.port)) return 'STRICT';
  const [refused] = refusedFor(policies, receiver);
  if (refused) return `${namespaceOf(refused)}/${refused.metadata.name}`;
  const deny = denials(policies, receiver).find(({ spec }) => (spec?.rules ?? []).some((rule) => covers(rule, call)));
  return deny && `${deny.metadata.namespace ?? 'default'}/${deny.metadata.name}`;
}

/** Whether any call in clear could be forbidden: when not, nothing has to be looked for. */
export function mayForbidClear(policies: PolicySet, receiver: Receiver): boolean {
  const modes = policies.peerAuthentications.filter((object) => inScope(object, policies, receiver));
  const isStrictSomewhere = modes.some(({ spec }) => {
    const ports = Object.values(spec?.portLevelMtls ?? {});
    return spec?.mtls?.mode === 'STRICT' || ports.some(({ mode }) => mode === 'STRICT');
  });
  return isStrictSomewhere || [...denials(policies, receiver), ...refusedFor(policies, receiver)].length > 0;
}

/** The closest scope decides: port, workload, namespace, mesh; within a scope the oldest object. */
function isStrict(policies: PolicySet, receiver: Receiver, port: number): boolean {
  const objects = policies.peerAuthentications.filter((object) => inScope(object, policies, receiver)).sort(byAge);
  const own = objects.find(({ spec }) => spec?.selector !== undefined);
  const ofNamespace = objects.find((object) => isUnselected(object) && namespaceOf(object) === receiver.namespace);
  const mesh = objects.find((object) => isUnselected(object) && namespaceOf(object) === policies.rootNamespace);
  const modes = [
    own?.spec?.portLevelMtls?.[String(port)]?.mode,
    own?.spec?.mtls?.mode,
    ofNamespace?.spec?.mtls?.mode,
    mesh?.spec?.mtls?.mode,
  ];
  return modes.find((mode) => mode !== undefined && mode !== 'UNSET') === 'STRICT';
}

function denials(policies: PolicySet, receiver: Receiver): readonly AuthorizationPolicy[] {
  return policies.authorizationPolicies.filter((object) => {
    const { spec, metadata } = object;
    const isForWaypoint = spec?.targetRef !== undefined || (spec?.targetRefs ?? []).length > 0;
    const isDryRun = metadata.annotations?.['istio.io/dry-run']?.toLowerCase() === 'true';
    return spec?.action === 'DENY' && !isForWaypoint && !isDryRun && inScope(object, policies, receiver);
  });
}

/** Those whose strictest reading forbids calls without an identity. */
function refusedFor(policies: PolicySet, { namespace, labels }: Receiver): readonly KubeObject[] {
  return (policies.refused ?? []).filter((object) => {
    const readable = readablePolicy(object as RefusedPolicy); // its spec is unknown there as well
    if (!readable.enforced || readable.dryRun || readable.strictest === 'allow-nothing') return false;
    const matchLabels = readable.selector;
    const spec = matchLabels === undefined ? {} : { selector: { matchLabels } };
    return inScope({ ...object, spec }, policies, { namespace, labels });
  });
}

type Scoped = PeerAuthentication | AuthorizationPolicy;

/** Objects of the root namespace hold for all; a selector narrows to the pods of its own namespace. */
function inScope(object: Scoped, { rootNamespace }: PolicySet, { namespace, labels }: Receiver): boolean {
  const inNamespace = namespaceOf(object) === namespace;
  const wanted = object.spec?.selector?.matchLabels;
  if (wanted === undefined) return inNamespace || namespaceOf(object) === rootNamespace;
  return inNamespace && Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

function covers(rule: AuthorizationRule | null, call: ClearCall): boolean {
  const { from = [], to = [], when = [] } = rule ?? {};
  const { port } = call;
  return (
    (from.length === 0 || from.some(({ source }) => sourceCovers(source ?? {}, call))) &&
    (to.length === 0 ||
      to.some(({ operation = {} }) =>
        all(values(operation.ports, operation.notPorts, (text) => text === `${port}`)),
      )) &&
    when.every(({ key, values: wanted, notValues }) => conditionCovers(key, wanted, notValues, call))
  );
}

function sourceCovers(source: AuthorizationSource, { sourceIp }: ClearCall): boolean {
  const nobody = (): boolean => false; // a caller without identity has none of these
  return all([
    ...values(source.principals, source.notPrincipals, nobody),
    ...values(source.namespaces, source.notNamespaces, nobody),
    ...values(source.serviceAccounts, source.notServiceAccounts, nobody),
    ...values(source.trustDomains, source.notTrustDomains, nobody),
    ...values(source.ipBlocks, source.notIpBlocks, (block) => contains(block, sourceIp)),
  ]);
}

function conditionCovers(
  key: string,
  wanted: readonly string[] | null | undefined,
  unwanted: readonly string[] | null | undefined,
  { sourceIp, destinationIp, port }: ClearCall,
): boolean {
  switch (key) {
    case 'source.ip':
      return all(values(wanted, unwanted, (block) => contains(block, sourceIp)));
    case 'destination.ip':
      return all(values(wanted, unwanted, (block) => contains(block, destinationIp)));
    case 'destination.port':
      return all(values(wanted, unwanted, (text) => text === `${port}`));
    case 'source.principal':
    case 'source.namespace':
    case 'source.serviceAccount':
      return all(values(wanted, unwanted, () => false));
    default:
      return true; // not checkable in a DENY: passed over
  }
}

/** One answer for each list that is there. */
function values(
  wanted: readonly string[] | null | undefined,
  unwanted: readonly string[] | null | undefined,
  matches: (text: string) => boolean,
): readonly boolean[] {
  return [...(wanted?.length ? [wanted.some(matches)] : []), ...(unwanted?.length ? [!unwanted.some(matches)] : [])];
}

/** What says nothing that can be checked matches nothing. */
function all(answers: readonly boolean[]): boolean {
  return answers.length > 0 && answers.every(Boolean);
}

function contains(block: string, ip: string): boolean {
  const range = parseBlock(block);
  const parsed = parseIp(ip);
  return range !== undefined && parsed !== undefined && rangeContains(range, parsed);
}

function parseBlock(text: string): CompiledRange | undefined {
  const [ip = '', length] = text.split('/');
  const bits = parseIp(ip) && (ipFamily(ip) === 4 ? 32 : 128);
  return compileRange({ ip, prefixLength: length === undefined ? (bits ?? -1) : Number(length) });
}

function namespaceOf({ metadata }: KubeObject): string {
  return metadata.namespace ?? 'default';
}

function isUnselected({ spec }: PeerAuthentication): boolean {
  return spec?.selector === undefined;
}

function byAge(a: KubeObject, b: KubeObject): number {
  const time = ({ metadata }: KubeObject): string => metadata.creationTimestamp ?? '';
  return time(a).localeCompare(time(b)) || a.metadata.name.localeCompare(b.metadata.name);
}
