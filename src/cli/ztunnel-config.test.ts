import { readFileSync } from 'node:fs';
import test from 'ava';
import type { Env } from '../core/config-reader.ts';
import { type ConfigFiles, parseZtunnelConfig } from './ztunnel-config.ts';

const parse = (env: Env = {}, files: Partial<ConfigFiles> = {}) =>
  parseZtunnelConfig(env, { exists: () => false, meshConfig: undefined, ...files });

test('the defaults', (t) => {
  const config = parse();
  t.like(config, {
    mode: 'shared',
    engine: 'auto',
    mark: 1337,
    inpodSocket: '/var/run/ztunnel/ztunnel.sock',
    adminPort: 15_000,
    statsPort: 15_020,
    readinessPort: 15_021,
    dns: { ip: '127.0.0.1', port: 15_053 },
    drainMs: 5_000,
    secretTtlSeconds: 86_400,
    logFilter: 'info',
    maxStreamsPerSession: 100,
  });
  t.like(config.xds, { address: 'https://localhost:15012', roots: { file: './var/run/secrets/istio/root-cert.pem' } });
  t.is(config.xds?.token, undefined);
  t.deepEqual(config.keepalive, { timeMs: 180_000, intervalMs: 180_000, retries: 9 });
});

test('the drain limit is what the documentation says', (t) => {
  const text = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  const told = /`CONNECTION_TERMINATION_DEADLINE`.*\| `(\d+)s` \|/.exec(text)?.[1];
  t.is(Number(told) * 1_000, parse().drainMs);
});

test('in Kubernetes the control plane has its service name', (t) => {
  t.is(parse({ KUBERNETES_SERVICE_HOST: '10.96.0.1' }).xds?.address, 'https://istiod.istio-system.svc:15012');
});

test('with a static config the control plane is optional', (t) => {
  t.is(parse({ LOCAL_XDS_PATH: '/x' }).xds, undefined);
  t.is(parse({ LOCAL_XDS_PATH: '/x', XDS_ADDRESS: 'a:1' }).xds?.address, 'https://a:1');
});

test('proxy config of the environment wins over that of the mesh, field by field', (t) => {
  const meshConfig =
    'defaultConfig: {discoveryAddress: "mesh:1", statsPort: 1, proxyMetadata: {ISTIO_META_A: mesh, B: mesh}}';
  const config = parse(
    {
      PROXY_CONFIG: '{statsPort: 2, proxyMetadata: {B: env, DNS_CAPTURE: "false"}}',
      ISTIO_META_CLUSTER_ID: 'c1',
      OTHER: 'x',
    },
    { meshConfig },
  );
  t.is(config.xds?.address, 'https://mesh:1');
  t.is(config.statsPort, 2);
  t.is(config.dns, undefined);
  t.like(config.nodeMetadata, { A: 'mesh', B: 'env', CLUSTER_ID: 'c1' });
  t.is(config.xds?.headers.clusterid, 'c1');
  t.false('OTHER' in config.nodeMetadata);
});

test('headers, roots and tokens come from text or from files', (t) => {
  const config = parse(
    { XDS_HEADER_K: 'v', CA_HEADER_X: 'y', XDS_ROOT_CA: '/a', CA_ROOT_CA: 'SYSTEM', AUTH_TOKEN: 'secret' },
    { exists: (path) => path === '/a' },
  );
  t.like(config.xds, { roots: { file: '/a' }, token: { text: 'secret' }, headers: { K: 'v' } });
  t.is(config.ca?.roots, undefined);
  t.like(config.ca?.headers, { X: 'y' });
});

test('the grace period leaves time to end in', (t) => {
  t.is(parse({ TERMINATION_GRACE_PERIOD_SECONDS: '30' }).drainMs, 25_000);
  t.is(parse({ TERMINATION_GRACE_PERIOD_SECONDS: '10' }).drainMs, 9_000);
  t.is(parse({ TERMINATION_GRACE_PERIOD_SECONDS: '1' }).drainMs, 1_000);
  t.is(parse({ TERMINATION_GRACE_PERIOD_SECONDS: '30', CONNECTION_TERMINATION_DEADLINE: '2s' }).drainMs, 2_000);
});

test('the node id and metadata', (t) => {
  const config = parse({
    POD_NAME: 'z',
    POD_NAMESPACE: 'sys',
    INSTANCE_IP: '10.0.0.1',
    NODE_NAME: 'n',
    ISTIO_METAJSON_L: '{"a":1}',
  });
  t.is(config.nodeId, 'ztunnel~10.0.0.1~z.sys~sys.svc.cluster.local');
  t.like(config.nodeMetadata, { NAME: 'z', NODE_NAME: 'n', L: { a: 1 } });
});

test('every problem is reported together', (t) => {
  const error = t.throws(() =>
    parse({
      PROXY_MODE: 'odd',
      XDS_ON_DEMAND: 'true',
      PACKET_MARK: 'x',
      RUST_LOG: 'loud',
      SECRET_TTL: '1 day',
      UNSTABLE_ENABLE_SOCKS5: 'true',
      PROXY_CONFIG: '{proxyMetadata: {DNS_PROXY_ADDR: nonsense}}',
    }),
  );
  for (const name of [
    'PROXY_MODE',
    'XDS_ON_DEMAND',
    'PACKET_MARK',
    'RUST_LOG',
    'SECRET_TTL',
    'SOCKS5',
    'DNS_PROXY_ADDR',
  ]) {
    t.regex(error?.message ?? '', new RegExp(name));
  }
});

test('dedicated mode needs its workload and has no mark', (t) => {
  t.throws(() => parse({ PROXY_MODE: 'dedicated' }), { message: /PROXY_WORKLOAD_INFO/ });
  const config = parse({ PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'ns/pod/sa' });
  t.deepEqual(config.dedicatedPod, { namespace: 'ns', name: 'pod', serviceAccount: 'sa' });
  t.is(config.mark, undefined);
});
