import test from 'ava';
import * as dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { answerQuery, type DnsView, resolveName } from './cluster-dns.ts';

const VIEW: DnsView = {
  services: () => [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { clusterIPs: ['10.96.0.20', 'fd00:10:96::14'] },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'headless', namespace: 'shop' },
      spec: { clusterIP: 'None', selector: { app: 'db' } },
    },
  ],
  pods: () => [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'db-0', namespace: 'shop', labels: { app: 'db' } },
      status: { podIP: '10.244.1.2', conditions: [{ type: 'Ready', status: 'True' }] },
    },
  ],
};

const resolves = test.macro((t, name: string, addresses: readonly string[] | undefined) => {
  t.deepEqual(resolveName(name, VIEW), addresses);
});
test('a service has its addresses', resolves, 'web.shop.svc.cluster.local', ['10.96.0.20', 'fd00:10:96::14']);
test('case and a last dot do not matter', resolves, 'WEB.Shop.svc.cluster.local.', ['10.96.0.20', 'fd00:10:96::14']);
test('a headless service has its ready pods', resolves, 'headless.shop.svc.cluster.local', ['10.244.1.2']);
test('an unknown service does not exist', resolves, 'nobody.shop.svc.cluster.local', undefined);
test('a name outside the cluster does not exist', resolves, 'web.shop', undefined);
test('a deeper name does not exist', resolves, 'a.web.shop.svc.cluster.local', undefined);

function ask(name: string, type: 'A' | 'AAAA'): dnsPacket.DecodedPacket {
  const query = dnsPacket.encode({
    type: 'query',
    id: 7,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
  return dnsPacket.decode(answerQuery(query, VIEW) ?? Buffer.alloc(0));
}

test('an answer has the id, the question and the addresses of the asked family', (t) => {
  const answer = ask('web.shop.svc.cluster.local', 'AAAA');
  t.is(answer.id, 7);
  t.is(answer.questions?.[0]?.name, 'web.shop.svc.cluster.local');
  t.deepEqual(
    answer.answers?.map((record) => ('data' in record ? record.data : undefined)),
    ['fd00:10:96::14'],
  );
});

test('an unknown name is answered with NXDOMAIN, a known one without such an address with nothing', (t) => {
  t.is((ask('nobody.shop.svc.cluster.local', 'A').flags ?? 0) & 15, 3);
  const none = ask('headless.shop.svc.cluster.local', 'AAAA');
  t.is((none.flags ?? 0) & 15, 0);
  t.is(none.answers?.length, 0);
});

test('any bytes are answered or dropped', (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void answerQuery(Buffer.from(bytes), VIEW)));
  t.pass();
});
