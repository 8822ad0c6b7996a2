/** What the CNI executable refuses: environment, configuration and results that are none, and whatever else comes in. */
import { spawnSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import { call, config, type Environment, environment, PLUGIN, RunDir, refused, VERSIONS } from './cni-call.ts';

for (const [name, verbs] of [
  ['CNI_CONTAINERID', ['ADD', 'DEL', 'CHECK']],
  ['CNI_NETNS', ['ADD', 'CHECK']],
  ['CNI_IFNAME', ['ADD', 'DEL', 'CHECK']],
  ['CNI_PATH', ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS']],
] as const) {
  test.serial(`${name} is required by ${verbs.join(', ')}`, async (t) => {
    await using dir = new RunDir();
    for (const verb of verbs)
      for (const value of [undefined, ''])
        refused(t, await call(config(dir.path), environment(verb, { [name]: value })), 4, new RegExp(name));
  });
}

const badCall = test.macro(async (t, env: Environment, code: number, text: RegExp) => {
  await using dir = new RunDir();
  await dir.agent(200);
  refused(t, await call(config(dir.path), environment('ADD', env)), code, text);
});
test.serial('no verb', badCall, { CNI_COMMAND: undefined }, 4, /CNI_COMMAND/);
test.serial('an unknown verb', badCall, { CNI_COMMAND: 'MOVE' }, 4, /CNI_COMMAND/);
test.serial('a container id with a slash', badCall, { CNI_CONTAINERID: '../x' }, 4, /CNI_CONTAINERID/);
test.serial('an interface name with a slash', badCall, { CNI_IFNAME: 'a/b' }, 4, /CNI_IFNAME/);
test.serial('an interface name that is too long', badCall, { CNI_IFNAME: 'x'.repeat(16) }, 4, /CNI_IFNAME/);
test.serial('arguments without a value', badCall, { CNI_ARGS: 'K8S_POD_NAME' }, 4, /CNI_ARGS/);
test.serial('arguments that are too long', badCall, { CNI_ARGS: `A=${'x'.repeat(20_000)}` }, 4, /too long/);
test.serial('a namespace path that is too long', badCall, { CNI_NETNS: `/${'x'.repeat(5_000)}` }, 4, /too long/);
test.serial("the node's own namespace", badCall, { CNI_NETNS: '/proc/self/ns/net' }, 8, /should not be the same/);

test.serial("the node's own namespace is taken when the runtime insists", async (t) => {
  await using dir = new RunDir();
  await dir.agent(200);
  const env = environment('ADD', { CNI_NETNS: '/proc/self/ns/net', CNI_NETNS_OVERRIDE: 'TRUE' });
  t.is((await call(config(dir.path), env)).exit, 0);
});

const badInput = test.macro(async (t, stdin: string | Record<string, unknown>, code: number, text: RegExp) => {
  await using dir = new RunDir();
  await dir.agent(200);
  const input = typeof stdin === 'string' ? stdin : config(dir.path, stdin);
  for (const verb of ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS'])
    if (verb === 'ADD' || typeof stdin === 'string') refused(t, await call(input, environment(verb)), code, text);
});
test.serial('empty input', badInput, '', 6, /not JSON/);
test.serial('input that is not JSON', badInput, '{"name":', 6, /not JSON/);
test.serial('input that is a list', badInput, '[]', 6, /not an object/);
test.serial('input with more after it', badInput, '{} {}', 6, /not JSON/);
test.serial('input nested without end', badInput, '['.repeat(500_000), 6, /not JSON/);
test.serial('input over 1 MiB', badInput, `{"name":"n","x":"${'x'.repeat(1024 * 1024)}"}`, 6, /larger than 1 MiB/);
test.serial('no network name', badInput, { name: undefined }, 7, /network name/);
test.serial('a network name with a slash', badInput, { name: 'a/b' }, 7, /network name/);
test.serial('a version that is no string', badInput, { cniVersion: 1 }, 7, /cniVersion/);
test.serial('a run directory that is no string', badInput, { cni_agent_run_dir: {} }, 7, /cni_agent_run_dir/);
test.serial(
  'a run directory that is too long',
  badInput,
  { cni_agent_run_dir: `/${'x'.repeat(200)}` },
  7,
  /cannot be reached/,
);
test.serial('exclusions that are no list', badInput, { exclude_namespaces: 'kube-system' }, 7, /exclude_namespaces/);
test.serial('an exclusion that is no string', badInput, { exclude_namespaces: [1] }, 7, /exclude_namespaces/);
test.serial('a result that is no object', badInput, { prevResult: [] }, 7, /prevResult/);
for (const address of ['10.0.0.1', '10.0.0.1/33', '10.0.0/8', 'fe80::1/129', '10.0.0.1/', '10.0.0.1/8x', '/8', 7, null])
  test.serial(`a result with the address ${address}`, badInput, { prevResult: { ips: [{ address }] } }, 7, /address/);
test.serial(
  'a result with a gateway that is none',
  badInput,
  { prevResult: { ips: [{ address: '1.1.1.1/8', gateway: 'x' }] } },
  7,
  /addr/,
);

/** Values that look like a configuration, some of them wrong. */
const configs = fc.record(
  {
    cniVersion: fc.oneof(fc.constantFrom(...VERSIONS), fc.jsonValue()),
    name: fc.oneof(fc.constant('n'), fc.jsonValue()),
    cni_agent_run_dir: fc.oneof(fc.constant('/nonexistent'), fc.jsonValue()),
    exclude_namespaces: fc.oneof(fc.array(fc.string()), fc.jsonValue()),
    pod_namespace: fc.oneof(fc.string(), fc.jsonValue()),
    prevResult: fc.oneof(
      fc.record({
        ips: fc.array(
          fc.record({
            address: fc.oneof(
              fc.tuple(fc.ipV4(), fc.nat(40)).map(([ip, bits]) => `${ip}/${bits}`),
              fc.jsonValue(),
            ),
            gateway: fc.oneof(fc.ipV6(), fc.jsonValue()),
            interface: fc.jsonValue(),
          }),
        ),
      }),
      fc.jsonValue(),
    ),
  },
  { requiredKeys: [] },
);
const inputs = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.json().map((text) => Buffer.from(text)),
  configs.map((value) => Buffer.from(JSON.stringify(value))),
  configs.map((value) => Buffer.from(JSON.stringify(value).slice(0, -2))),
);
const texts = fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.replaceAll('\0', ''));
const environments = fc.record({
  CNI_COMMAND: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION') },
    texts,
  ),
  CNI_CONTAINERID: fc.oneof(fc.constant('c'), texts),
  CNI_NETNS: fc.oneof(fc.constant('/nonexistent'), texts),
  CNI_IFNAME: fc.oneof(fc.constant('eth0'), texts),
  CNI_PATH: fc.constant('/opt'),
  CNI_ARGS: fc.oneof(
    fc.constant('K8S_POD_NAME=a;K8S_POD_NAMESPACE=b'),
    fc.tuple(texts, texts).map(([name, namespace]) => `K8S_POD_NAME=${name};K8S_POD_NAMESPACE=${namespace}`),
    texts,
  ),
});

test.serial('whatever comes in, it exits with 0 or 1 and prints one JSON document or nothing', (t) => {
  fc.assert(
    fc.property(inputs, environments, (input, env) => {
      const { status, signal, stdout, stderr } = spawnSync(PLUGIN, { input, env, timeout: 20_000 });
      t.is(signal, null);
      t.true(status === 0 || status === 1);
      t.is(stderr.toString(), '');
      const text = stdout.toString('utf8');
      if (status === 0 && text === '') return;
      const answer = JSON.parse(text);
      t.true(
        status === 0 ? VERSIONS.includes(answer.cniVersion) : typeof answer.code === 'number' && answer.msg !== '',
      );
    }),
    { numRuns: 1_000 },
  );
});
