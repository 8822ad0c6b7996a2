import test from 'ava';
import { callMetadata, type GrpcEndpoint, parseGrpcAddress } from './grpc-endpoint.ts';

const reads = test.macro((t, address: string, target: string) => {
  t.is(parseGrpcAddress(address), target);
});
test(
  'an address with scheme and port',
  reads,
  'https://istiod.istio-system.svc:15012',
  'istiod.istio-system.svc:15012',
);
test('an address without a scheme', reads, 'istiod.istio-system.svc:15012', 'istiod.istio-system.svc:15012');
test('an address without a port', reads, 'https://istiod', 'istiod:443');
test('an IPv6 address', reads, '[fd00::1]:15012', '[fd00::1]:15012');

const refuses = test.macro((t, address: string) => {
  t.throws(() => parseGrpcAddress(address), { code: 'ERR_CONFIG' });
});
test('plain text is refused', refuses, 'http://istiod:15010');
test('nothing is refused', refuses, '');
test('a port that is none is refused', refuses, 'istiod:http');

const endpoint: GrpcEndpoint = {
  address: 'localhost:1',
  roots: undefined,
  token: { text: 'secret\n' },
  headers: { ClusterID: 'Kubernetes' },
};
test('a call carries the token and the headers in lower case', async (t) => {
  const metadata = await callMetadata(endpoint);
  t.deepEqual(metadata.getMap(), { authorization: 'Bearer secret', clusterid: 'Kubernetes' });
});
test('without a token there is no authorization', async (t) => {
  t.deepEqual((await callMetadata({ ...endpoint, token: undefined })).getMap(), { clusterid: 'Kubernetes' });
});
test('a token file that cannot be read is an error', async (t) => {
  await t.throwsAsync(callMetadata({ ...endpoint, token: { file: '/nonexistent/token' } }), { code: 'ERR_CONFIG' });
});
