import test from 'ava';
import fc from 'fast-check';
import {
  configText,
  hasEntry,
  insertEntry,
  parseNetworkConfig,
  pluginEntry,
  pluginTypes,
  removeEntry,
} from './plugin-entry.ts';

const ENTRY = pluginEntry({
  logLevel: 'info',
  agentRunDir: '/var/run/istio-cni',
  selectors: [],
  excludedNamespaces: ['kube-system'],
  podNamespace: 'istio-system',
});

test('the entry has the keys the plugin reads', (t) => {
  t.deepEqual(Object.keys(ENTRY), [
    'name',
    'type',
    'plugin_log_level',
    'cni_agent_run_dir',
    'ambient_enabled',
    'enablement_selectors',
    'exclude_namespaces',
    'pod_namespace',
    'native_nftables',
    'enable_ambient_detection_retry',
  ]);
});

test('a single configuration is wrapped into a list', (t) => {
  const config = parseNetworkConfig('{"cniVersion":"0.4.0","name":"net","type":"bridge","mtu":1400}');
  t.deepEqual(insertEntry(config, ENTRY), {
    name: 'k8s-pod-network',
    cniVersion: '0.3.1',
    plugins: [{ name: 'net', type: 'bridge', mtu: 1400 }, ENTRY],
  });
});

test('a list keeps its own fields, and gets the entry last and once', (t) => {
  const text = '{"cniVersion":"1.0.0","name":"net","x":1,"plugins":[{"type":"istio-cni","old":1},{"type":"ptp"}]}';
  t.deepEqual(insertEntry(parseNetworkConfig(text), ENTRY), {
    cniVersion: '1.0.0',
    name: 'net',
    x: 1,
    plugins: [{ type: 'ptp' }, ENTRY],
  });
});

const refused = test.macro((t, text: string) => {
  t.throws(() => parseNetworkConfig(text), { code: 'ERR_MALFORMED' });
});
test('refused: not JSON', refused, '{');
test('refused: not an object', refused, '[]');
test('refused: no type', refused, '{"name":"x"}');
test('refused: an empty list', refused, '{"plugins":[]}');
test('refused: a list of something else', refused, '{"plugins":[1]}');

const plugin = fc.record({ type: fc.constantFrom('ptp', 'bridge', 'portmap', 'istio-cni'), mtu: fc.nat() });
const list = fc.record({
  name: fc.string(),
  cniVersion: fc.constant('1.0.0'),
  plugins: fc.array(plugin, { minLength: 1 }),
});

test('inserting twice is inserting once, and removing gives the rest back', (t) => {
  fc.assert(
    fc.property(list, (value) => {
      const once = parseNetworkConfig(configText(insertEntry(parseNetworkConfig(JSON.stringify(value)), ENTRY)));
      t.deepEqual(insertEntry(once, ENTRY), once.value);
      t.true(hasEntry(once));
      t.is(pluginTypes(once).filter((type) => type === 'istio-cni').length, 1);
      const rest = value.plugins.filter(({ type }) => type !== 'istio-cni');
      t.deepEqual(removeEntry(once), rest.length === 0 ? undefined : { ...value, plugins: rest });
    }),
  );
});

test('any text is a configuration or ERR_MALFORMED', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        parseNetworkConfig(text);
      } catch (error) {
        t.like(error, { code: 'ERR_MALFORMED' });
      }
    }),
  );
  t.pass();
});
