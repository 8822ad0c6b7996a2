import test from 'ava';
import fc from 'fast-check';
import { workload } from '../../test/support/mesh-objects.ts';
import { newTraceparent, parseBaggage, parseForwardedHost, toBaggage, toForwarded } from './hop-headers.ts';
import { proxyHeader } from './proxy-protocol.ts';

const full = workload({ name: 'a', locality: { region: 'r', zone: 'z', subzone: '' } });

test('baggage has the entries in their order and none that is empty', (t) => {
  const text =
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=a,service.name=a,service.version=v1';
  t.is(toBaggage(full), `${text},cloud.region=r,cloud.availability_zone=z`);
  t.is(toBaggage(workload({ name: 'a' })), text);
});

test('baggage survives the way', (t) => {
  for (const workloadType of ['DEPLOYMENT', 'CRONJOB', 'POD', 'JOB'] as const) {
    t.deepEqual(parseBaggage([toBaggage({ ...full, workloadType })]), {
      clusterId: 'Kubernetes',
      namespace: 'default',
      workloadName: 'a',
      canonicalName: 'a',
      canonicalRevision: 'v1',
      region: 'r',
      zone: 'z',
    });
  }
});

test('baggage over several lines is merged, empty values are absent, a later one clears', (t) => {
  const found = parseBaggage(['service.name=a,service.version=v1', 'k8s.namespace.name=n,service.version=']);
  t.is(found?.canonicalName, 'a');
  t.is(found?.namespace, 'n');
  t.is(found?.canonicalRevision, undefined);
  t.is(parseBaggage([]), undefined);
  t.is(parseBaggage(['service.name=']), undefined);
  t.is(parseBaggage(['service.name=a', 'x=ä']), undefined);
});

test('no header crashes the parsers', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 4 }), (lines) => {
      parseBaggage(lines);
      parseForwardedHost(lines);
      t.pass();
    }),
  );
});

test('no field of a workload adds an entry', (t) => {
  fc.assert(
    fc.property(fc.string(), (canonicalName) => {
      const found = parseBaggage([toBaggage({ ...full, canonicalName })]);
      t.is(found?.namespace, 'default');
      t.is(found?.canonicalRevision, 'v1');
    }),
  );
});

test('forwarded', (t) => {
  t.is(toForwarded({ ip: '10.0.0.1', port: 1234 }, undefined), 'for="10.0.0.1:1234"');
  t.is(toForwarded({ ip: '::1', port: 1234 }, 'svc.example'), 'for="[::1]:1234";host=svc.example');
  t.is(parseForwardedHost(['for="[::1]:1234";host=svc.example']), 'svc.example');
  t.is(parseForwardedHost(['for=x; host="svc.example" ']), 'svc.example');
  t.is(parseForwardedHost(['host=']), undefined);
  t.is(parseForwardedHost(['for=x']), undefined);
  t.is(parseForwardedHost(['host=ä']), undefined);
});

test('traceparent', (t) => t.regex(newTraceparent(), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/));

test('PROXY header of IPv4 with identity', (t) => {
  const header = proxyHeader({
    source: { ip: '1.2.3.4', port: 258 },
    destination: { ip: '5.6.7.8', port: 80 },
    identity: 'spiffe://x',
  });
  t.is(
    header.toString('hex'),
    `0d0a0d0a000d0a515549540a2111${(12 + 3 + 10).toString(16).padStart(4, '0')}010203040506070801020050d0000a${Buffer.from('spiffe://x').toString('hex')}`,
  );
});
test('PROXY header of IPv6', (t) => {
  const header = proxyHeader({
    source: { ip: 'fd00::1', port: 1 },
    destination: { ip: 'fd00::2', port: 2 },
    identity: undefined,
  });
  t.is(header[13], 0x21);
  t.is(header.readUInt16BE(14), 36);
  t.is(header.length, 52);
});
test('PROXY header of mixed families has no addresses', (t) => {
  const header = proxyHeader({
    source: { ip: 'fd00::1', port: 1 },
    destination: { ip: '1.2.3.4', port: 2 },
    identity: undefined,
  });
  t.is(header[13], 0x01);
  t.is(header.length, 16);
});
