import { readFileSync } from 'node:fs';
import test from 'ava';
import { stringify } from 'yaml';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import {
  gatewayAt,
  gatewayNamed,
  memberOf,
  policy,
  service,
  vip,
  workload,
} from '../../../test/support/mesh-objects.ts';
import { ADDRESS_TYPE, decodeAddress, decodeAuthorization } from '../../xds/index.ts';
import { dumpPolicy, dumpService, dumpState, dumpWorkload } from './dump-format.ts';
import { MeshState } from './mesh-state.ts';
import { parseStaticConfig } from './static-config.ts';

interface Recorded {
  readonly type_url: string;
  readonly resources: readonly { readonly value_base64: string }[];
}
const read = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

test('the recorded responses lead to the recorded config dump', (t) => {
  const state = new MeshState({ node: undefined, clock: new ManualClock() });
  // JSON of the shape above, recorded once
  for (const { type_url, resources } of read('../../xds/testdata/recorded-responses.json') as Recorded[]) {
    const bytes = resources.map(({ value_base64 }) => Buffer.from(value_base64, 'base64'));
    if (type_url === ADDRESS_TYPE) state.applyAddresses({ updates: bytes.map(decodeAddress), removed: [] });
    else state.applyPolicies({ updates: bytes.map(decodeAuthorization), removed: [] });
  }
  state.applyAddresses({ updates: [], removed: ['Kubernetes//Pod/default/outsider'] }); // came after the dump was taken
  const dump: unknown = JSON.parse(JSON.stringify(dumpState(state)));
  t.deepEqual(dump, read('testdata/recorded-config-dump.json'));
});

test('what is dumped can be read as static config', (t) => {
  const a = workload({
    name: 'a',
    waypoint: gatewayAt('10.0.0.9', 15_009, 'net'),
    networkGateway: gatewayNamed('istio-system', 'gw.example'),
    applicationTunnel: { protocol: 'PROXY', port: 15_088 },
    locality: { region: 'r', zone: 'z', subzone: '' },
    authorizationPolicies: ['default/p'],
    network: 'net',
    networkMode: 'HOST_NETWORK',
    status: 'UNHEALTHY',
    nativeTunnel: true,
    capacity: 3,
    hostname: 'a.example',
  });
  const s = service({
    name: 's',
    addresses: [vip('10.96.0.1', 32, 'net'), vip('fd00::', 16)],
    ports: { 80: 8080 },
    loadBalancing: { mode: 'FAILOVER', routingPreference: ['NETWORK', 'REGION'], healthPolicy: 'ALLOW_ALL' },
    ipFamilies: 'IPV6_ONLY',
    visibility: 'NAMESPACE',
    waypoint: gatewayNamed('default', 'wp.example'),
  });
  const empty = policy({ name: 'none' });
  const p = policy({
    name: 'p',
    scope: 'WORKLOAD_SELECTOR',
    action: 'DENY',
    rules: [
      {
        clauses: [
          {
            matches: [
              {
                namespaces: [{ kind: 'exact', value: 'a' }],
                notNamespaces: [{ kind: 'prefix', value: 'b' }],
                principals: [{ kind: 'suffix', value: 'c' }],
                notPrincipals: [{ kind: 'presence' }],
                serviceAccounts: [{ namespace: 'n', serviceAccount: 's' }],
                notServiceAccounts: [],
                sourceIps: [{ ip: '10.0.0.0', prefixLength: 8 }],
                notSourceIps: [],
                destinationIps: [{ ip: 'fd00::', prefixLength: 8 }],
                notDestinationIps: [],
                destinationPorts: [80],
                notDestinationPorts: [81],
              },
            ],
          },
        ],
      },
    ],
  });
  const text = stringify({
    workloads: [dumpWorkload(a)],
    services: [dumpService(s, [])],
    policies: [dumpPolicy(p), dumpPolicy(empty)],
  });
  const config = parseStaticConfig(text);
  t.deepEqual(config.addresses, [
    { kind: 'service', service: s },
    { kind: 'workload', workload: a },
  ]);
  t.deepEqual(config.policies, [p, empty]);
});

test("a static workload names its services with the endpoint's ports", (t) => {
  const { addresses } = parseStaticConfig(`
workloads:
- uid: cluster1//v1/Pod/default/local
  name: local
  namespace: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  services:
    "default/example.com":
      80: 8080
`);
  const [first] = addresses;
  t.deepEqual(first?.kind === 'workload' && first.workload.services, memberOf({ 'default/example.com': { 80: 8080 } }));
});

test('every problem of a static config is reported', (t) => {
  const error = t.throws(() =>
    parseStaticConfig(
      'workloads: [{uid: "", name: a, namespace: b, workloadIps: [x]}]\nservices: [{vips: [nonsense]}]\n',
    ),
  );
  t.regex(error?.message ?? '', /workloads\.0\.uid.*workloads\.0\.workloadIps\.0.*services\.0\.vips\.0/);
  t.throws(() => parseStaticConfig('a: [b'), { message: /no YAML/ });
  t.throws(
    () =>
      parseStaticConfig('policies: [{name: p, namespace: n, scope: Global, action: Deny, rules: [[[{typo: []}]]]}]'),
    {
      message: /typo/,
    },
  );
});
