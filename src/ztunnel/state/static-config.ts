/**
 * Workloads, services and policies from a YAML file, usable without a control plane (LOCAL_XDS_PATH). The shape is that
 * of the config dump, and a workload's `services` is `{ 'ns/host': { servicePort: targetPort } }`.
 *
 * Guarantee: every problem is reported with its place, all together; nothing is taken from a file with a problem.
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { MeshError } from '../../core/errors.ts';
import type { IpRange } from '../../model/address.ts';
import type { Authorization, Match, StringMatch } from '../../model/authorization.ts';
import { canonicalIp, ipFamily } from '../../model/ip.ts';
import type { Scope, Service, ServiceAddress } from '../../model/service.ts';
import type { GatewayAddress, PortMap, Workload } from '../../model/workload.ts';
import type { Address } from './mesh-state.ts';

export interface StaticConfig {
  readonly addresses: readonly Address[];
  readonly policies: readonly Authorization[];
}

/** A file of that size has some 100,000 workloads. */
const BYTES_MAX = 64 * 1024 * 1024;

/** Throws ERR_CONFIG with every problem. */
export function parseStaticConfig(text: string): StaticConfig {
  if (text.length > BYTES_MAX) throw new MeshError('ERR_CONFIG', 'static config is too large');
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `static config is no YAML: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  const result = file.safeParse(document ?? {});
  if (!result.success) {
    const problems = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new MeshError('ERR_CONFIG', `invalid static config: ${problems.join('; ')}`);
  }
  const { workloads, services, policies } = result.data;
  const addresses: Address[] = [
    ...services.map((service) => ({ kind: 'service' as const, service })),
    ...workloads.map((workload) => ({ kind: 'workload' as const, workload })),
  ];
  return { addresses, policies };
}

const ip = z.string().transform((text, context) => {
  const value = canonicalIp(text);
  if (value !== undefined) return value;
  context.addIssue({ code: 'custom', message: `not an IP address: ${text}` });
  return z.NEVER;
});

function toRange(text: string): IpRange | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const value = canonicalIp(address);
  if (value === undefined || rest.length > 0) return undefined;
  const max = ipFamily(value) === 4 ? 32 : 128;
  const prefixLength = length === undefined ? max : Number(length);
  return Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= max
    ? { ip: value, prefixLength }
    : undefined;
}

const range = z.string().transform((text, context): IpRange => {
  const value = toRange(text);
  if (value) return value;
  context.addIssue({ code: 'custom', message: `not an address range: ${text}` });
  return z.NEVER;
});

const vip = z.string().transform((text, context): ServiceAddress => {
  const slash = text.indexOf('/');
  const value = toRange(text.slice(slash + 1));
  if (slash >= 0 && value) return { network: text.slice(0, slash), range: value };
  context.addIssue({ code: 'custom', message: `not a network/address: ${text}` });
  return z.NEVER;
});

const gateway = z
  .object({ destination: z.string(), hboneMtlsPort: z.number().int().min(0).max(65_535).default(15_008) })
  .transform(({ destination, hboneMtlsPort }): GatewayAddress => {
    const slash = destination.indexOf('/');
    const [before, after] = [destination.slice(0, Math.max(0, slash)), destination.slice(slash + 1)];
    const address = canonicalIp(after);
    return address === undefined
      ? { destination: { kind: 'hostname', namespace: before, hostname: after }, hboneMtlsPort }
      : { destination: { kind: 'address', network: before, ip: address }, hboneMtlsPort };
  });

const ports = z
  .record(z.string().regex(/^\d+$/, 'not a port'), z.number().int().min(0).max(65_535))
  .transform((map): PortMap => new Map(Object.entries(map).map(([from, to]) => [Number(from), to])));

/** `WorkloadSelector`, `WORKLOAD_SELECTOR` and `workloadSelector` are the same. */
function enumOf<const T extends string>(names: readonly T[]) {
  const plain = (text: string): string => text.replaceAll('_', '').toLowerCase();
  return z.string().transform((text, context): T => {
    const found = names.find((name) => plain(name) === plain(text));
    if (found !== undefined) return found;
    context.addIssue({ code: 'custom', message: `expected one of ${names.join(', ')}` });
    return z.NEVER;
  });
}

const workload = z
  .object({
    uid: z.string().min(1),
    name: z.string(),
    namespace: z.string(),
    workloadIps: z.array(ip).default([]),
    hostname: z.string().default(''),
    network: z.string().default(''),
    protocol: enumOf(['HBONE', 'TCP', 'NONE']).default('NONE'),
    trustDomain: z.string().default('cluster.local'),
    serviceAccount: z.string().default('default'),
    waypoint: gateway.optional(),
    networkGateway: gateway.optional(),
    node: z.string().default(''),
    canonicalName: z.string().default(''),
    canonicalRevision: z.string().default(''),
    workloadType: enumOf(['DEPLOYMENT', 'CRONJOB', 'POD', 'JOB']).default('POD'),
    workloadName: z.string().default(''),
    nativeTunnel: z.boolean().default(false),
    applicationTunnel: z
      .object({ protocol: enumOf(['NONE', 'PROXY']), port: z.number().int().min(0).max(65_535).default(0) })
      .optional(),
    services: z.union([z.record(z.string(), ports), z.array(z.string())]).default({}),
    authorizationPolicies: z.array(z.string()).default([]),
    status: enumOf(['HEALTHY', 'UNHEALTHY']).default('HEALTHY'),
    clusterId: z.string().default('Kubernetes'),
    locality: z
      .object({ region: z.string().default(''), zone: z.string().default(''), subzone: z.string().default('') })
      .default({ region: '', zone: '', subzone: '' }),
    networkMode: enumOf(['STANDARD', 'HOST_NETWORK']).default('STANDARD'),
    capacity: z.number().int().min(0).default(1),
  })
  .transform(
    ({ workloadIps, protocol, services, waypoint, networkGateway, applicationTunnel, ...rest }): Workload => ({
      ...rest,
      addresses: workloadIps,
      tunnelProtocol: protocol === 'HBONE' ? 'HBONE' : 'NONE',
      waypoint,
      networkGateway,
      applicationTunnel,
      services: Array.isArray(services)
        ? new Map(services.map((key) => [key, new Map()]))
        : new Map(Object.entries(services)),
    }),
  );

const SCOPES: readonly Scope[] = ['REGION', 'ZONE', 'SUBZONE', 'NODE', 'CLUSTER', 'NETWORK'];

const loadBalancer = z
  .object({
    mode: enumOf(['UNSPECIFIED', 'STANDARD', 'STRICT', 'FAILOVER', 'PASSTHROUGH']).default('UNSPECIFIED'),
    routingPreferences: z.array(enumOf(SCOPES)).default([]),
    healthPolicy: enumOf(['ONLY_HEALTHY', 'ALLOW_ALL']).default('ONLY_HEALTHY'),
  })
  .transform(({ mode, routingPreferences, healthPolicy }): Service['loadBalancing'] => ({
    mode: mode === 'STANDARD' ? 'UNSPECIFIED' : mode,
    routingPreference: routingPreferences,
    healthPolicy,
  }));

const service = z
  .object({
    name: z.string(),
    namespace: z.string(),
    hostname: z.string().min(1),
    vips: z.array(vip).default([]),
    ports: ports.default(new Map()),
    subjectAltNames: z.array(z.string()).default([]),
    waypoint: gateway.optional(),
    loadBalancer: loadBalancer.optional(),
    ipFamilies: enumOf(['AUTOMATIC', 'IPv4', 'IPv6', 'DUAL']).default('AUTOMATIC'),
    canonical: z.boolean().default(false),
    visibility: enumOf(['PUBLIC', 'NAMESPACE']).default('PUBLIC'),
  })
  .transform(
    ({ vips, ports: map, waypoint, loadBalancer: balancer, ipFamilies, ...rest }): Service => ({
      ...rest,
      addresses: vips,
      ports: Array.from(map, ([servicePort, targetPort]) => ({
        servicePort,
        targetPort,
        appProtocol: 'UNKNOWN' as const,
      })),
      waypoint,
      weightedWaypoints: [],
      loadBalancing: balancer ?? { mode: 'UNSPECIFIED', routingPreference: [], healthPolicy: 'ONLY_HEALTHY' },
      ipFamilies: ipFamilies === 'IPv4' ? 'IPV4_ONLY' : ipFamilies === 'IPv6' ? 'IPV6_ONLY' : ipFamilies,
      ingressUseWaypoint: false,
    }),
  );

const stringMatch = z.union([
  z.object({ Exact: z.string() }).transform(({ Exact }): StringMatch => ({ kind: 'exact', value: Exact })),
  z.object({ Prefix: z.string() }).transform(({ Prefix }): StringMatch => ({ kind: 'prefix', value: Prefix })),
  z.object({ Suffix: z.string() }).transform(({ Suffix }): StringMatch => ({ kind: 'suffix', value: Suffix })),
  z.object({ Presence: z.unknown() }).transform((): StringMatch => ({ kind: 'presence' })),
]);

const account = z
  .string()
  .regex(/^[^/]+\/[^/]+$/, 'expected namespace/account')
  .transform((text) => {
    const slash = text.indexOf('/');
    return { namespace: text.slice(0, slash), serviceAccount: text.slice(slash + 1) };
  });

const list = <T extends z.ZodType>(of: T) => z.array(of).default([]);
const port = z.number().int().min(0).max(65_535);
const match: z.ZodType<Match> = z.strictObject({
  namespaces: list(stringMatch),
  notNamespaces: list(stringMatch),
  principals: list(stringMatch),
  notPrincipals: list(stringMatch),
  serviceAccounts: list(account),
  notServiceAccounts: list(account),
  sourceIps: list(range),
  notSourceIps: list(range),
  destinationIps: list(range),
  notDestinationIps: list(range),
  destinationPorts: list(port),
  notDestinationPorts: list(port),
});

const policy = z
  .object({
    name: z.string().min(1),
    namespace: z.string(),
    scope: enumOf(['GLOBAL', 'NAMESPACE', 'WORKLOAD_SELECTOR']),
    action: enumOf(['ALLOW', 'DENY']),
    rules: z.array(z.array(z.array(match))).default([]),
    dryRun: z.boolean().default(false),
  })
  .transform(
    ({ rules, ...rest }): Authorization => ({
      ...rest,
      rules: rules.map((clauses) => ({ clauses: clauses.map((matches) => ({ matches })) })),
    }),
  );

const file = z.object({ workloads: list(workload), services: list(service), policies: list(policy) });
