import test from 'ava';
import fc from 'fast-check';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { memberOf, service, vip, workload } from '../../../test/support/mesh-objects.ts';
import { silentLogger } from '../../core/logger.ts';
import { newMetricsRegistry } from '../../core/metrics.ts';
import type { Service } from '../../model/service.ts';
import { MeshState } from '../state/mesh-state.ts';
import { handleDns } from './dns-handler.ts';
import {
  type DnsQuery,
  encodeAnswer,
  encodeForward,
  encodeForwarded,
  parseQuery,
  RCODE,
  readForwarded,
  TYPE_A,
  TYPE_AAAA,
  TYPE_CNAME,
} from './dns-message.ts';
import { DnsMetrics } from './dns-metrics.ts';
import { hasDomain, kubernetesSearchDomains, toKubernetesNames, trimDomain, wildcardsOf } from './dns-name.ts';
import { resolveName } from './dns-resolver.ts';
import { parseResolvConf } from './resolv-conf.ts';
import { TcpMessages } from './tcp-messages.ts';

/** A query as a stub resolver sends it. */
function query(name: string, { type = TYPE_A, id = 7, edns = 0, flags = 0x0100 } = {}): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const head = Buffer.alloc(12);
  for (const [index, value] of [id, flags, 1, 0, 0, edns > 0 ? 1 : 0].entries()) head.writeUInt16BE(value, index * 2);
  const tail = Buffer.from([0, 0, type, 0, 1]);
  const opt = Buffer.from([0, 0, 41, edns >> 8, edns & 0xff, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([head, ...labels, tail, edns > 0 ? opt : Buffer.alloc(0)]);
}
const parsed = (message: Buffer): DnsQuery => {
  const result = parseQuery(message);
  if (result.kind !== 'query') throw new Error(result.kind);
  return result.query;
};
const flagsOf = (message: Buffer): number => message.readUInt16BE(2);
const answersOf = (message: Buffer): number => message.readUInt16BE(6);

// --- names -----------------------------------------------------------------------------------------------------------

test('a domain is judged on label boundaries', (t) => {
  t.true(hasDomain('a.b.c', 'b.c'));
  t.true(hasDomain('b.c', 'b.c'));
  t.false(hasDomain('ab.c', 'b.c'));
  t.is(trimDomain('a.b.c', 'b.c'), 'a');
  t.is(trimDomain('b.c', 'b.c'), undefined);
  t.is(trimDomain('x.ab.c', 'b.c'), undefined);
});

const expands = test.macro((t, name: string, expected: string[]) =>
  t.deepEqual(toKubernetesNames(name, 'ns1', 'cluster.local'), expected),
);
test('one label', expands, 'a', ['a.ns1.svc.cluster.local']);
test('two labels', expands, 'a.b', ['a.b.svc.cluster.local', 'a.b.ns1.svc.cluster.local']);
test('three labels', expands, 'a.b.c', ['a.b.c.svc.cluster.local']);
test('three labels with svc', expands, 'a.b.svc', ['a.b.svc.cluster.local', 'a.b.svc.svc.cluster.local']);
test('four labels with svc', expands, 'a.b.c.svc', ['a.b.c.svc.cluster.local']);
test('a full name', expands, 'a.b.svc.cluster.local', []);
test('wildcards go from specific to general', (t) => t.deepEqual([...wildcardsOf('a.b.c')], ['a.b.c', '*.b.c', '*.c']));

// --- resolution ------------------------------------------------------------------------------------------------------

const client = workload({ name: 'client', namespace: 'ns1', addresses: ['10.0.0.9'] });
const key = (s: Service): string => `${s.namespace}/${s.hostname}`;
const headless = service({ name: 'headless', namespace: 'ns1', canonical: true });
const services: Service[] = [
  service({ name: 'web', namespace: 'ns1', addresses: [vip('10.96.0.1')], canonical: true }),
  service({ name: 'other', namespace: 'ns2', addresses: [vip('10.96.0.2')], canonical: true }),
  service({ name: 'private', namespace: 'ns2', addresses: [vip('10.96.0.3')], visibility: 'NAMESPACE' }),
  service({ name: 'own', namespace: 'ns1', addresses: [vip('10.96.0.4')], visibility: 'NAMESPACE' }),
  service({ name: 'dual', namespace: 'ns1', addresses: [vip('10.96.0.5'), vip('fd00::5')] }),
  service({ name: 'six', namespace: 'ns1', addresses: [vip('fd00::6'), vip('10.96.0.6')], ipFamilies: 'IPV6_ONLY' }),
  service({ name: 'ext', namespace: 'ns1', hostname: 'www.google.com', addresses: [vip('240.0.0.1')] }),
  service({ name: 'w1', namespace: 'ns1', hostname: '*.wildcard', addresses: [vip('240.0.0.2')] }),
  service({ name: 'w2', namespace: 'ns1', hostname: '*.b.wildcard', addresses: [vip('240.0.0.3')] }),
  service({ name: 'far', namespace: 'ns1', addresses: [vip('10.97.0.1', 32, 'remote')] }),
  service({ name: 'both', namespace: 'ns1', addresses: [vip('10.97.0.1', 32, 'remote'), vip('10.96.0.8')] }),
  service({ name: 'block', namespace: 'ns1', hostname: 'block.example', addresses: [vip('240.1.0.0', 16)] }),
  service({ name: 'novip', namespace: 'ns1', hostname: 'novip.example' }),
  headless,
  ...['ns7', 'ns8', 'ns9'].map((namespace, index) =>
    service({ name: 'shared', namespace, hostname: 'shared.example', addresses: [vip(`240.2.0.${index}`)] }),
  ),
];
const members = ['10.0.0.1', '10.0.0.2'].map((ip, index) =>
  workload({
    name: `m${index}`,
    namespace: 'ns1',
    addresses: [ip, `fd00::${index + 1}`],
    services: memberOf({ [key(headless)]: { 80: 80 }, 'ns1/novip.example': { 80: 80 } }),
  }),
);
const state = new MeshState({ node: undefined, clock: new ManualClock() });
state.applyAddresses({
  updates: [
    ...services.map((value) => ({ kind: 'service' as const, service: value })),
    ...[client, ...members].map((value) => ({ kind: 'workload' as const, workload: value })),
  ],
  removed: [],
});
const OPTIONS = {
  clusterDomain: 'cluster.local',
  searchDomains: kubernetesSearchDomains('ns1', 'cluster.local'),
  preferredNamespace: 'ns8',
  ipv6: true,
};

/** `expected`: addresses, or `forward`; a CNAME target in front of them is written `->name`. */
const resolves = test.macro((t, name: string, type: number, expected: string[] | 'forward') => {
  const result = resolveName(state, { name, type, client }, OPTIONS, () => 0);
  if (result.kind === 'forward' || expected === 'forward') return t.true(result.kind === expected);
  const texts = result.records.map((r) => (r.type === TYPE_CNAME ? `->${r.data}` : r.data));
  t.deepEqual(texts.sort(), [...expected].sort());
  const cname = result.records.find((r) => r.type === TYPE_CNAME);
  for (const record of result.records) if (record !== cname) t.is(record.name, cname?.data ?? name);
});
test('another type is forwarded', resolves, 'web.ns1.svc.cluster.local', 2, 'forward');
test('an external host in the mesh', resolves, 'www.google.com', TYPE_A, ['240.0.0.1']);
test('the same with a search domain', resolves, 'www.google.com.ns1.svc.cluster.local', TYPE_A, [
  '->www.google.com',
  '240.0.0.1',
]);
test('an unknown host', resolves, 'www.example.com', TYPE_A, 'forward');
test('a full service name', resolves, 'web.ns1.svc.cluster.local', TYPE_A, ['10.96.0.1']);
test('name and namespace', resolves, 'web.ns1', TYPE_A, ['10.96.0.1']);
test('a short name', resolves, 'web', TYPE_A, ['10.96.0.1']);
test('name and namespace with a search domain', resolves, 'web.ns1.svc.cluster.local.ns1.svc.cluster.local', TYPE_A, [
  '->web.ns1.svc.cluster.local',
  '10.96.0.1',
]);
test('AAAA of a service with IPv4 only', resolves, 'web', TYPE_AAAA, []);
test('another namespace', resolves, 'other.ns2', TYPE_A, ['10.96.0.2']);
test('another namespace with svc', resolves, 'other.ns2.svc', TYPE_A, ['10.96.0.2']);
test('the short name of another namespace', resolves, 'other', TYPE_A, 'forward');
test('a private service of another namespace', resolves, 'private.ns2', TYPE_A, 'forward');
test('a private service of the own namespace', resolves, 'own', TYPE_A, ['10.96.0.4']);
test('dual stack, IPv4', resolves, 'dual', TYPE_A, ['10.96.0.5']);
test('dual stack, IPv6', resolves, 'dual', TYPE_AAAA, ['fd00::5']);
test('IPv6 only asked for A', resolves, 'six', TYPE_A, []);
test('IPv6 only asked for AAAA', resolves, 'six', TYPE_AAAA, ['fd00::6']);
test('a wildcard', resolves, 'x.wildcard', TYPE_A, ['240.0.0.2']);
test('a wildcard of many labels', resolves, 'x.y.z.wildcard', TYPE_A, ['240.0.0.2']);
test('the more specific wildcard', resolves, 'x.b.wildcard', TYPE_A, ['240.0.0.3']);
test('a wildcard with a search domain has no CNAME', resolves, 'x.wildcard.ns1.svc.cluster.local', TYPE_A, [
  '240.0.0.2',
]);
test('a VIP of another network only', resolves, 'far', TYPE_A, []);
test('VIPs of both networks', resolves, 'both', TYPE_A, ['10.96.0.8']);
test('blocks of VIPs are left out', resolves, 'block.example', TYPE_A, []);
test('headless, IPv4', resolves, 'headless', TYPE_A, ['10.0.0.1', '10.0.0.2']);
test('headless, IPv6', resolves, 'headless', TYPE_AAAA, ['fd00::1', 'fd00::2']);
test('host name of one pod', resolves, 'm0.headless.ns1.svc.cluster.local', TYPE_A, 'forward');
test('an external service without VIPs', resolves, 'novip.example', TYPE_A, 'forward');
test('the preferred namespace', resolves, 'shared.example', TYPE_A, ['240.2.0.1']);

// --- messages --------------------------------------------------------------------------------------------------------

test('no bytes crash the parser', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      t.truthy(parseQuery(Buffer.from(bytes)).kind);
      readForwarded(Buffer.from(bytes), parsed(query('a.b')), 7);
    }),
  );
});

test('a query cut anywhere is refused or ignored, never misread', (t) => {
  const whole = query('www.example.com', { edns: 1_232 });
  for (let end = 0; end < whole.length - 11; end++)
    t.not(parseQuery(whole.subarray(0, end)).kind, 'query', String(end));
});

const refuses = test.macro((t, message: Buffer, rcode: number) =>
  t.deepEqual(parseQuery(message), { kind: 'refuse', id: 7, rcode }),
);
test('a response is a format error', refuses, query('a', { flags: 0x8000 }), RCODE.FORMERR);
test('another opcode is not implemented', refuses, query('a', { flags: 0x2800 }), RCODE.NOTIMP);

test('names are compared in lower case and answered as asked', (t) => {
  const q = parsed(query('WeB.Ns1'));
  t.is(q.name, 'web.ns1');
  t.true(encodeAnswer(q, [], 'udp').includes('WeB'));
});

test('a large answer is whole over TCP and cut with TC over UDP', (t) => {
  const q = parsed(query('web', { edns: 1_232 }));
  const records = Array.from({ length: 256 }, (_, i) => ({
    name: 'web',
    type: TYPE_A as typeof TYPE_A,
    ttl: 30,
    data: `10.0.0.${i}`,
  }));
  const tcp = encodeAnswer(q, records, 'tcp');
  t.is(answersOf(tcp), 256);
  t.is(flagsOf(tcp) & 0x0200, 0);
  const udp = encodeAnswer(q, records, 'udp');
  t.true(udp.length <= 1_232 && udp.length > 1_200);
  t.is(flagsOf(udp) & 0x0200, 0x0200);
  t.true(answersOf(udp) >= 74 && answersOf(udp) < 80);
});

test('a forwarded answer keeps its bytes, gets the id of the client and loses AA', (t) => {
  const message = query('www.example.com');
  const q = parsed(message);
  const answer = Buffer.concat([encodeForward(message, 999), Buffer.from('rest')]);
  answer.writeUInt16BE(0x8580 | RCODE.NXDOMAIN, 2);
  t.deepEqual(readForwarded(answer, q, 999), { rcode: RCODE.NXDOMAIN, isTruncated: false });
  t.is(readForwarded(answer, q, 998), undefined);
  t.is(readForwarded(answer, parsed(query('www.example.org')), 999), undefined);
  const out = encodeForwarded(answer, q, 'udp');
  t.is(out.readUInt16BE(0), 7);
  t.is(flagsOf(out), 0x8180 | RCODE.NXDOMAIN);
  t.is(out.subarray(-4).toString(), 'rest');
});

test('a forwarded answer that the client cannot take is cut with TC', (t) => {
  const message = query('www.example.com');
  const answer = Buffer.concat([encodeForward(message, 9), Buffer.alloc(600)]);
  const out = encodeForwarded(answer, parsed(message), 'udp');
  t.is(out.length, message.length);
  t.is(flagsOf(out) & 0x0200, 0x0200);
});

test('TCP messages do not depend on how the bytes were cut', (t) => {
  const arb = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 });
  fc.assert(
    fc.property(arb, fc.integer({ min: 1, max: 7 }), (messages, step) => {
      const bytes = Buffer.concat(messages.map((m) => TcpMessages.frame(m)));
      const reader = new TcpMessages();
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += step) out.push(...reader.push(bytes.subarray(at, at + step)));
      t.deepEqual(
        out.map((m) => [...m]),
        messages.map((m) => [...m]),
      );
    }),
  );
});

test('resolv.conf', (t) => {
  const text =
    'nameserver 10.96.0.10 # one\nnameserver bad\nnameserver fd00::1\nsearch A.example. b\noptions ndots:5\n';
  t.deepEqual(parseResolvConf(text), { nameservers: ['10.96.0.10', 'fd00::1'], search: ['a.example', 'b'] });
});

// --- handler ---------------------------------------------------------------------------------------------------------

function deps(forward: (message: Buffer) => Promise<Buffer>, known = true) {
  return {
    view: state,
    client: async () => {
      if (!known) throw new Error('unknown');
      return client;
    },
    forwarder: { forward },
    options: () => OPTIONS,
    metrics: new DnsMetrics(newMetricsRegistry()),
    clock: new ManualClock(),
    random: () => 0,
    log: silentLogger,
  };
}
const upstream = (rcode: number) => async (message: Buffer) => {
  const answer = Buffer.from(message);
  answer.writeUInt16BE(0x8580 | rcode, 2);
  return answer;
};
const rcodeOf = (message: Buffer | undefined): number | undefined => message && flagsOf(message) & 0xf;

test('a known name is answered with authority', async (t) => {
  const answer = await handleDns(query('web'), 'udp', deps(upstream(0)));
  t.is(answer && flagsOf(answer) & 0x8580, 0x8580);
  t.is(answer && answersOf(answer), 1);
});
test('NXDOMAIN of a nameserver passes through', async (t) => {
  const answer = await handleDns(query('no.such.host'), 'udp', deps(upstream(RCODE.NXDOMAIN)));
  t.is(rcodeOf(answer), RCODE.NXDOMAIN);
  t.is(answer && flagsOf(answer) & 0x0400, 0);
});
test('REFUSED of a nameserver becomes SERVFAIL', async (t) => {
  t.is(rcodeOf(await handleDns(query('no.such.host'), 'udp', deps(upstream(5)))), RCODE.SERVFAIL);
});
test('no nameserver means SERVFAIL', async (t) => {
  const fails = deps(async () => Promise.reject(new Error('none')));
  t.is(rcodeOf(await handleDns(query('no.such.host'), 'udp', fails)), RCODE.SERVFAIL);
});
test('a pod that is not known gets SERVFAIL', async (t) => {
  t.is(rcodeOf(await handleDns(query('web'), 'udp', deps(upstream(0), false))), RCODE.SERVFAIL);
});
