import test from 'ava';
import fc from 'fast-check';
import { connectedSeqpackets, isTunnelPod } from './tunnel-processes.ts';

const TABLE = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000003 00000000 00000000 0005 03 48213
0000000000000000: 00000002 00000000 00010000 0005 01 48100 /var/run/ztunnel/ztunnel.sock
0000000000000000: 00000003 00000000 00000000 0001 03 48300 /run/systemd/journal/stdout
`;

test('only connected SEQPACKET sockets count', (t) => {
  t.deepEqual([...connectedSeqpackets(TABLE)], ['48213']);
});

test('any text is read without a throw', (t) => {
  fc.assert(fc.property(fc.string(), (text) => connectedSeqpackets(text).size >= 0));
  t.pass();
});

test('a tunnel is named by its label, and only in the namespace of the mesh', (t) => {
  const pod = (namespace: string, app: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'x', namespace, labels: { app } },
  });
  t.true(isTunnelPod(pod('istio-system', 'ztunnel'), 'istio-system'));
  t.false(isTunnelPod(pod('shop', 'ztunnel'), 'istio-system'));
  t.false(isTunnelPod(pod('istio-system', 'istiod'), 'istio-system'));
});
