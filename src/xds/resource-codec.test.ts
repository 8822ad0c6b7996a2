import { readFileSync } from 'node:fs';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { AuthorizationSchema } from '../gen/authorization_pb.js';
import { AddressSchema, ServiceSchema, WorkloadSchema } from '../gen/workload_pb.js';
import type { Authorization } from '../model/authorization.ts';
import { ipText } from '../model/ip-bytes.ts';
import { type Service, serviceKey } from '../model/service.ts';
import type { GatewayAddress, Workload } from '../model/workload.ts';
import { decodeAddress, encodeService, encodeWorkload } from './address-codec.ts';
import { decodeAuthorization, encodeAuthorization } from './authorization-codec.ts';
import { ADDRESS_TYPE } from './type-url.ts';

interface RecordedResource {
  readonly name: string;
  readonly value_base64: string;
}
interface RecordedResponse {
  readonly type_url: string;
  readonly resources: readonly RecordedResource[];
}
const recorded: readonly RecordedResponse[] = JSON.parse(
  readFileSync(new URL('testdata/recorded-responses.json', import.meta.url), 'utf8'),
);

/** Lists one port number twice (TCP and UDP); the model keeps it once. */
const WITH_DOUBLE_PORTS = 'Kubernetes//Pod/kube-system/coredns-';

for (const { type_url, resources } of recorded) {
  for (const { name, value_base64 } of resources) {
    test(`${name} decodes and encodes to the recorded bytes`, (t) => {
      const bytes = Buffer.from(value_base64, 'base64');
      if (type_url !== ADDRESS_TYPE) {
        const policy = decodeAuthorization(bytes);
        t.is(`${policy.namespace}/${policy.name}`, name);
        t.deepEqual(Buffer.from(encodeAuthorization(policy)), bytes);
        return;
      }
      const address = decodeAddress(bytes);
      t.is(address.kind === 'workload' ? address.workload.uid : serviceKey(address.service), name);
      if (name.startsWith(WITH_DOUBLE_PORTS)) {
        t.deepEqual(Buffer.from(toBinary(AddressSchema, fromBinary(AddressSchema, bytes))), bytes);
        return;
      }
      const again = address.kind === 'workload' ? encodeWorkload(address.workload) : encodeService(address.service);
      t.deepEqual(Buffer.from(again), bytes);
    });
  }
}

test('a recorded pod has its facts', (t) => {
  const front = recorded[0]?.resources.find((r) => r.name === 'Kubernetes//Pod/shop/front');
  const address = decodeAddress(Buffer.from(front?.value_base64 ?? '', 'base64'));
  if (address.kind !== 'workload') return t.fail();
  const { workload } = address;
  t.deepEqual(workload.addresses, ['10.244.1.5', 'fd00:10:244:1::5']);
  t.is(workload.tunnelProtocol, 'HBONE');
  t.is(workload.trustDomain, 'cluster.local');
  t.is(workload.serviceAccount, 'front');
  t.is(workload.node, 'node1');
  t.is(workload.workloadType, 'POD');
  t.is(workload.capacity, 1);
});

const refuses = test.macro((t, bytes: Uint8Array, reason: string) => {
  const error = t.throws(() => decodeAddress(bytes), { instanceOf: MeshError });
  t.is(error?.code, 'ERR_MALFORMED');
  t.true(error?.message.includes(reason), error?.message);
});
type WorkloadInit = NonNullable<Parameters<typeof create<typeof WorkloadSchema>>[1]>;
type ServiceInit = NonNullable<Parameters<typeof create<typeof ServiceSchema>>[1]>;
const workloadBytes = (init: WorkloadInit) =>
  toBinary(
    AddressSchema,
    create(AddressSchema, { type: { case: 'workload', value: create(WorkloadSchema, { uid: 'u', ...init }) } }),
  );
const serviceBytes = (init: ServiceInit) =>
  toBinary(
    AddressSchema,
    create(AddressSchema, { type: { case: 'service', value: create(ServiceSchema, { hostname: 'h', ...init }) } }),
  );

test('an empty address is refused', refuses, new Uint8Array(), 'neither a workload nor a service');
test('truncated bytes are refused', refuses, workloadBytes({ name: 'abc' }).subarray(0, 4), 'failed to decode');
test('an IP of 5 bytes is refused', refuses, workloadBytes({ addresses: [new Uint8Array(5)] }), 'of 5 bytes');
test('sidecar mTLS is refused', refuses, workloadBytes({ tunnelProtocol: 2 }), 'LEGACY_ISTIO_MTLS');
test(
  'an unknown tunnel protocol is refused',
  refuses,
  workloadBytes({ tunnelProtocol: 9 as never }),
  'tunnel protocol: 9',
);
test('an unknown status is refused', refuses, workloadBytes({ status: 7 as never }), 'workload status: 7');
test('an unknown workload type is refused', refuses, workloadBytes({ workloadType: 7 as never }), 'workload type: 7');
test('an unknown network mode is refused', refuses, workloadBytes({ networkMode: 7 as never }), 'network mode: 7');
test(
  'an unknown application tunnel is refused',
  refuses,
  workloadBytes({ applicationTunnel: { protocol: 5 as never } }),
  '5',
);
test('a gateway to nowhere is refused', refuses, workloadBytes({ waypoint: { hboneMtlsPort: 1 } }), 'destination');
test('a service name without namespace is refused', refuses, workloadBytes({ services: { host: {} } }), 'host');
test('a workload without uid is refused', refuses, workloadBytes({ uid: '' }), 'without uid');
test('an unspecified scope is refused', refuses, serviceBytes({ loadBalancing: { routingPreference: [0] } }), 'scope');
test('an unknown mode is refused', refuses, serviceBytes({ loadBalancing: { mode: 9 as never } }), 'mode: 9');
test('unknown IP families are refused', refuses, serviceBytes({ ipFamilies: 9 as never }), 'IP families: 9');
test(
  'a prefix that is too long is refused',
  refuses,
  serviceBytes({ addresses: [{ address: new Uint8Array(4), length: 33 }] }),
  '33',
);

test('an unknown visibility is public', (t) => {
  const address = decodeAddress(serviceBytes({ visibility: 5 as never }));
  t.is(address.kind === 'service' && address.service.visibility, 'PUBLIC');
});
test('what is left out has its default', (t) => {
  const address = decodeAddress(workloadBytes({}));
  if (address.kind !== 'workload') return t.fail();
  t.like(address.workload, {
    trustDomain: 'cluster.local',
    serviceAccount: 'default',
    clusterId: 'Kubernetes',
    capacity: 1,
  });
});

const refusesPolicy = test.macro((t, init: NonNullable<Parameters<typeof create<typeof AuthorizationSchema>>[1]>) => {
  const bytes = toBinary(AuthorizationSchema, create(AuthorizationSchema, init));
  t.throws(() => decodeAuthorization(bytes), { code: 'ERR_MALFORMED' });
});
const inMatch = (match: object) => ({ rules: [{ clauses: [{ matches: [match] }] }] });
test('an unknown action is refused', refusesPolicy, { action: 2 });
test('an unknown policy scope is refused', refusesPolicy, { scope: 3 });
test('a string match without a kind is refused', refusesPolicy, inMatch({ principals: [{}] }));
test('a source of 3 bytes is refused', refusesPolicy, inMatch({ sourceIps: [{ address: new Uint8Array(3) }] }));
test(
  'a source with a long prefix is refused',
  refusesPolicy,
  inMatch({ sourceIps: [{ address: new Uint8Array(4), length: 40 }] }),
);

const name = fc.stringMatching(/^[a-z0-9.-]{1,12}$/);
const port = fc.integer({ min: 0, max: 65_535 });
const ip = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipText(bytes) ?? '');
const range = ip.chain((text) =>
  fc.record({ ip: fc.constant(text), prefixLength: fc.integer({ min: 0, max: text.includes(':') ? 128 : 32 }) }),
);
const gateway: fc.Arbitrary<GatewayAddress> = fc.record({
  destination: fc.oneof(
    fc.record({ kind: fc.constant('hostname' as const), namespace: name, hostname: name }),
    fc.record({ kind: fc.constant('address' as const), network: name, ip }),
  ),
  hboneMtlsPort: port,
});
const serviceName = fc.tuple(name, name).map(([namespace, host]) => `${namespace}/${host}`);
const workload: fc.Arbitrary<Workload> = fc.record({
  uid: fc.string({ minLength: 1 }),
  name: fc.string(),
  namespace: fc.string(),
  addresses: fc.array(ip),
  hostname: fc.string(),
  network: name,
  tunnelProtocol: fc.constantFrom('NONE', 'HBONE'),
  trustDomain: name,
  serviceAccount: name,
  waypoint: fc.option(gateway, { nil: undefined }),
  networkGateway: fc.option(gateway, { nil: undefined }),
  node: name,
  canonicalName: name,
  canonicalRevision: name,
  workloadType: fc.constantFrom('DEPLOYMENT', 'CRONJOB', 'POD', 'JOB'),
  workloadName: name,
  nativeTunnel: fc.boolean(),
  applicationTunnel: fc.option(fc.record({ protocol: fc.constantFrom('NONE' as const, 'PROXY' as const), port }), {
    nil: undefined,
  }),
  services: fc
    .array(
      fc.tuple(
        serviceName,
        fc.array(fc.tuple(port, port)).map((ports) => new Map(ports)),
      ),
    )
    .map((entries) => new Map([...new Map(entries)].sort(([a], [b]) => (a < b ? -1 : 1)))),
  authorizationPolicies: fc.array(serviceName),
  status: fc.constantFrom('HEALTHY', 'UNHEALTHY'),
  clusterId: name,
  locality: fc.record({ region: name, zone: name, subzone: name }),
  networkMode: fc.constantFrom('STANDARD', 'HOST_NETWORK'),
  capacity: fc.nat(),
});
const service: fc.Arbitrary<Service> = fc.record({
  name,
  namespace: name,
  hostname: name,
  addresses: fc.array(fc.record({ network: name, range })),
  ports: fc.array(
    fc.record({
      servicePort: port,
      targetPort: port,
      appProtocol: fc.constantFrom('UNKNOWN' as const, 'HTTP11' as const, 'HTTP2' as const, 'TLS' as const),
    }),
  ),
  subjectAltNames: fc.array(fc.string()),
  waypoint: fc.option(gateway, { nil: undefined }),
  weightedWaypoints: fc.array(fc.record({ destination: gateway, weight: fc.nat() })),
  loadBalancing: fc.record({
    mode: fc.constantFrom('UNSPECIFIED', 'STRICT', 'FAILOVER', 'PASSTHROUGH'),
    routingPreference: fc.array(fc.constantFrom('REGION' as const, 'ZONE' as const, 'NODE' as const)),
    healthPolicy: fc.constantFrom('ONLY_HEALTHY', 'ALLOW_ALL'),
  }),
  ipFamilies: fc.constantFrom('AUTOMATIC', 'IPV4_ONLY', 'IPV6_ONLY', 'DUAL'),
  canonical: fc.boolean(),
  ingressUseWaypoint: fc.boolean(),
  visibility: fc.constantFrom('PUBLIC', 'NAMESPACE'),
});
const stringMatch = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const), value: fc.string() }),
  fc.constant({ kind: 'presence' as const }),
);
const account = fc.record({ namespace: name, serviceAccount: name });
const match = fc.record({
  namespaces: fc.array(stringMatch),
  notNamespaces: fc.array(stringMatch),
  principals: fc.array(stringMatch),
  notPrincipals: fc.array(stringMatch),
  serviceAccounts: fc.array(account),
  notServiceAccounts: fc.array(account),
  sourceIps: fc.array(range),
  notSourceIps: fc.array(range),
  destinationIps: fc.array(range),
  notDestinationIps: fc.array(range),
  destinationPorts: fc.array(port),
  notDestinationPorts: fc.array(port),
});
const authorization: fc.Arbitrary<Authorization> = fc.record({
  name,
  namespace: name,
  scope: fc.constantFrom('GLOBAL', 'NAMESPACE', 'WORKLOAD_SELECTOR'),
  action: fc.constantFrom('ALLOW', 'DENY'),
  rules: fc.array(
    fc.record({ clauses: fc.array(fc.record({ matches: fc.array(match, { maxLength: 2 }) }), { maxLength: 2 }) }),
    { maxLength: 2 },
  ),
  dryRun: fc.boolean(),
});

test('every workload survives the wire', (t) => {
  fc.assert(
    fc.property(workload, (w) => void t.deepEqual(decodeAddress(encodeWorkload(w)), { kind: 'workload', workload: w })),
  );
});
test('every service survives the wire', (t) => {
  fc.assert(
    fc.property(service, (s) => void t.deepEqual(decodeAddress(encodeService(s)), { kind: 'service', service: s })),
  );
});
test('every policy survives the wire', (t) => {
  fc.assert(fc.property(authorization, (p) => void t.deepEqual(decodeAuthorization(encodeAuthorization(p)), p)));
});
test('foreign bytes are decoded or refused with a reason', (t) => {
  const corrupted = fc.tuple(workload.map(encodeWorkload), fc.nat(), fc.nat({ max: 255 })).map(([bytes, at, value]) => {
    const copy = Uint8Array.from(bytes);
    copy[at % copy.length] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), corrupted), (bytes) => {
      for (const decode of [decodeAddress, decodeAuthorization]) {
        try {
          decode(bytes);
        } catch (error) {
          t.true(error instanceof MeshError && error.code === 'ERR_MALFORMED');
        }
      }
    }),
  );
  t.pass();
});
