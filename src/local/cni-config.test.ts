import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { configurationFiles, parseNetworkList, pluginEnv, pluginErrorText, pluginInput } from './cni-config.ts';

const LIST =
  '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"ptp","capabilities":{"portMappings":true}},{"type":"x"}]}';

test('a list and a single configuration are read', (t) => {
  t.deepEqual(
    parseNetworkList(LIST).plugins.map(({ type }) => type),
    ['ptp', 'x'],
  );
  t.is(parseNetworkList('{"name":"n","type":"ptp"}').plugins.length, 1);
});

for (const text of ['', '[]', '{}', '{"name":"n"}', '{"name":"n","plugins":[]}', '{"name":"n","plugins":[{}]}']) {
  test(`${text || 'nothing'} is refused`, (t) => {
    t.is(t.throws(() => parseNetworkList(text), { instanceOf: MeshError })?.code, 'ERR_MALFORMED');
  });
}

test('any text is read or refused with a code', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        parseNetworkList(text);
      } catch (error) {
        t.true(error instanceof MeshError);
      }
    }),
  );
  t.pass();
});

test('files come in the order of their names, others are left out', (t) => {
  t.deepEqual(configurationFiles(['20-b.conf', '10-a.conflist', 'x.tmp', '.hidden']), ['10-a.conflist', '20-b.conf']);
});

test('a plugin gets name, version and the result of the one before, but no capabilities', (t) => {
  const list = parseNetworkList(LIST);
  const input = JSON.parse(pluginInput(list, list.plugins[0]!, { ips: [] })) as unknown; // two plugins are in the list
  t.deepEqual(input, { type: 'ptp', name: 'n', cniVersion: '1.0.0', prevResult: { ips: [] } });
});

test('the environment carries the arguments in order', (t) => {
  const attachment = {
    containerId: 'c',
    netns: '/run/netns/x',
    ifName: 'eth0',
    args: { IgnoreUnknown: '1', K8S_POD_NAME: 'p' },
  };
  const env = pluginEnv('ADD', attachment, '/opt/cni/bin');
  t.is(env.CNI_ARGS, 'IgnoreUnknown=1;K8S_POD_NAME=p');
  t.is(env.CNI_NETNS, '/run/netns/x');
  t.false('CNI_NETNS' in pluginEnv('DEL', { containerId: 'c', ifName: 'eth0', args: {} }, '/opt/cni/bin'));
});

test('the words of a refusal are found', (t) => {
  t.is(pluginErrorText('{"code":1,"msg":"no","details":"why"}', ''), 'no: why');
  t.is(pluginErrorText('plain', 'other'), 'plain');
  t.is(pluginErrorText('', ''), 'no output');
});
