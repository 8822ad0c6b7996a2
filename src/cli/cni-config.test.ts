import test from 'ava';
import { parseCniConfig } from './cni-config.ts';

const NEEDED = { NODE_NAME: 'node1', RESOURCE_DIR: '/resources' };

test('defaults are those of the chart', (t) => {
  const config = parseCniConfig(NEEDED);
  t.is(config.agent.runDir, '/var/run/istio-cni');
  t.is(config.agent.zdsPath, '/var/run/ztunnel/ztunnel.sock');
  t.deepEqual([...config.agent.rules.excludedNamespaces], ['kube-system']);
  t.deepEqual(config.agent.defaults, { dnsCapture: true, ipv6: true });
  t.is(config.backend, undefined);
  t.deepEqual(config.install.mode, { kind: 'chained' });
  t.is(config.install.configFileMode, 0o600);
  t.deepEqual([config.healthPort, config.metricsPort], [8_000, 15_014]);
});

test('blanks around excluded namespaces are cut', (t) => {
  const { agent } = parseCniConfig({ ...NEEDED, EXCLUDE_NAMESPACES: ' a, b ,,' });
  t.deepEqual([...agent.rules.excludedNamespaces], ['a', 'b']);
});

test('the ways to install', (t) => {
  const mode = (env: Record<string, string>) => parseCniConfig({ ...NEEDED, ...env }).install.mode;
  t.deepEqual(mode({ CNI_CONF_NAME: '10-x.conflist' }), { kind: 'chained', name: '10-x.conflist' });
  t.deepEqual(mode({ CHAINED_CNI_PLUGIN: 'false' }), { kind: 'standalone', file: 'YYY-istio-cni.conf' });
  t.deepEqual(mode({ ISTIO_OWNED_CNI_CONFIG: 'true' }), { kind: 'owned', file: '02-istio-cni.conflist' });
});

test('every problem is told at once', (t) => {
  const env = {
    REDIRECT_BACKEND: 'magic',
    FORCE_IPTABLES_BINARY: 'new',
    HEALTH_PORT: 'x',
    AMBIENT_ENABLEMENT_SELECTOR: '{',
  };
  const error = t.throws(() => parseCniConfig(env), { code: 'ERR_CONFIG' });
  for (const name of ['NODE_NAME', 'RESOURCE_DIR', ...Object.keys(env)]) t.true(error.message.includes(name), name);
});
