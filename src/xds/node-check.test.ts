import test from 'ava';
import fc from 'fast-check';
import { checkNode, tunnelNodeId } from './node-check.ts';

const id = tunnelNodeId({ ip: '1.1.1.1', pod: 'ztunnel-1', namespace: 'istio-system' });
const CALLER = { namespace: 'istio-system', serviceAccount: 'ztunnel' };

test('the id has its form', (t) => {
  t.is(id, 'ztunnel~1.1.1.1~ztunnel-1.istio-system~istio-system.svc.cluster.local');
});
test('a good node is accepted', (t) => {
  const check = checkNode({ id, metadata: { NAMESPACE: 'istio-system', NODE_NAME: 'node1' } }, CALLER);
  t.deepEqual(check, {
    ok: true,
    node: { id, podName: 'ztunnel-1', namespace: 'istio-system', nodeName: 'node1' },
  });
});
test('without metadata the id says the namespace', (t) => {
  t.true(checkNode({ id, metadata: {} }, CALLER).ok);
});
const refuses = test.macro((t, info: Parameters<typeof checkNode>[0], kind: 'invalid' | 'denied') => {
  t.like(checkNode(info, CALLER), { ok: false, kind });
});
test('no node', refuses, undefined, 'invalid');
test('three parts', refuses, { id: 'ztunnel~1.1.1.1~a.b', metadata: {} }, 'invalid');
test('another type', refuses, { id: id.replace('ztunnel~', 'sidecar~'), metadata: {} }, 'invalid');
test('no IP address', refuses, { id: id.replace('1.1.1.1', 'here'), metadata: {} }, 'invalid');
test('a very long id', refuses, { id: id.padEnd(2_000, 'x'), metadata: {} }, 'invalid');
test('another namespace', refuses, { id, metadata: { NAMESPACE: 'other' } }, 'denied');
test('another account', refuses, { id, metadata: { SERVICE_ACCOUNT: 'other' } }, 'denied');
test('another namespace in the id', refuses, { id: id.replaceAll('istio-system', 'other'), metadata: {} }, 'denied');

test('whatever the id is, there is an answer', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.dictionary(fc.string(), fc.jsonValue()), (text, metadata) => {
      return typeof checkNode({ id: text, metadata }, CALLER).ok === 'boolean';
    }),
  );
  t.pass();
});
