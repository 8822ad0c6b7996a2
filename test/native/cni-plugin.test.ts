/** The CNI executable against a real agent's socket and every way an agent can fail. */
import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import {
  call,
  config,
  type Environment,
  environment,
  PLUGIN,
  PREV_RESULT,
  RunDir,
  refused,
  VERSIONS,
} from './cni-call.ts';

test.serial('ADD tells the agent who and where, and prints the result it was given', async (t) => {
  await using dir = new RunDir();
  const requests = await dir.agent(200);
  const outcome = await call(config(dir.path), environment('ADD'));
  t.is(outcome.exit, 0, outcome.stdout);
  t.deepEqual(outcome.json, { ...PREV_RESULT, cniVersion: '1.1.0' });
  t.deepEqual(requests, [
    {
      url: 'POST /cmdadd',
      body: {
        Netns: '/run/netns/pod',
        PodName: 'cart-1',
        PodNamespace: 'shop',
        IPs: [
          { Interface: 0, Address: { IP: '10.244.1.7', Mask: '////AA==' }, Gateway: '10.244.1.1' },
          { Interface: null, Address: { IP: 'fd00::7', Mask: '//////////8AAAAAAAAAAA==' }, Gateway: 'fd00::1' },
        ],
      },
    },
  ]);
});

test.serial(
  'ADD without a result prints the version alone; a result of the first versions is understood',
  async (t) => {
    await using dir = new RunDir();
    const requests = await dir.agent(200);
    const bare = await call(config(dir.path, { prevResult: undefined, cniVersion: undefined }), environment('ADD'));
    t.deepEqual(bare, { exit: 0, stdout: '{"cniVersion":"0.1.0"}\n', json: { cniVersion: '0.1.0' } });
    const prevResult = { ip4: { ip: '10.1.2.3/20', gateway: '10.1.0.1' }, ip6: { ip: 'fd01::3/120' } };
    const old = await call(config(dir.path, { prevResult, cniVersion: '0.2.0' }), environment('ADD'));
    t.deepEqual(old.json, { ...prevResult, cniVersion: '0.2.0' });
    t.deepEqual(
      requests.map(({ body }) => (body as { IPs: unknown }).IPs),
      [
        [],
        [
          { Interface: null, Address: { IP: '10.1.2.3', Mask: '///wAA==' }, Gateway: '10.1.0.1' },
          { Interface: null, Address: { IP: 'fd01::3', Mask: '////////////////////AA==' }, Gateway: '' },
        ],
      ],
    );
  },
);

for (const version of VERSIONS) {
  test.serial(`the result is printed in the declared version ${version}`, async (t) => {
    await using dir = new RunDir();
    await dir.agent(200);
    const outcome = await call(config(dir.path, { cniVersion: version, prevResult: { dns: {} } }), environment('ADD'));
    t.deepEqual(outcome.json, { dns: {}, cniVersion: version });
  });
}

const passesWithout = test.macro(async (t, env: Environment, more: Record<string, unknown> = {}) => {
  await using dir = new RunDir();
  const outcome = await call(config(dir.path, more), environment('ADD', env));
  t.is(outcome.exit, 0, outcome.stdout);
  t.deepEqual(outcome.json, { ...PREV_RESULT, cniVersion: '1.1.0' });
});
const args = (namespace: string, name: string) => ({ CNI_ARGS: `K8S_POD_NAME=${name};K8S_POD_NAMESPACE=${namespace}` });
test.serial(
  "the agent's own pod starts without the agent",
  passesWithout,
  args('istio-system', 'istio-cni-node-x7k2p'),
);
test.serial('a pod of an excluded namespace starts without the agent', passesWithout, args('quiet', 'a'));
test.serial('a call without pod name and namespace passes', passesWithout, { CNI_ARGS: undefined });
test.serial('a call without pod name passes', passesWithout, { CNI_ARGS: 'K8S_POD_NAMESPACE=shop' });
test.serial('with the mesh turned off every pod passes', passesWithout, {}, { ambient_enabled: false });

const failsWithout = test.macro(async (t, env: Environment, more: Record<string, unknown> = {}) => {
  await using dir = new RunDir();
  const outcome = await call(config(dir.path, more), environment('ADD', env));
  refused(t, outcome, 11, /the node agent cannot be reached.*pluginevent\.sock: No such file/);
  const line = JSON.parse(dir.log().trim());
  t.is(line.level, 'error');
  t.is(line.code, 11);
});
test.serial('control: any other pod does not start without the agent', failsWithout, {});
test.serial(
  "a pod named like the agent's in another namespace does not pass",
  failsWithout,
  args('shop', 'istio-cni-node-x'),
);
test.serial("another pod of the agent's namespace does not pass", failsWithout, args('istio-system', 'ztunnel-x'));
test.serial('without pod_namespace no pod is the agent', failsWithout, args('istio-system', 'istio-cni-node-x'), {
  pod_namespace: '',
});
test.serial('a namespace that only begins like an excluded one does not pass', failsWithout, args('quiet2', 'a'));

test.serial('a socket that nobody listens on is refused, and STATUS says so', async (t) => {
  await using dir = new RunDir();
  spawnSync('python3', ['-c', `import socket; socket.socket(socket.AF_UNIX).bind(${JSON.stringify(dir.socket)})`]);
  t.true(statSync(dir.socket).isSocket());
  refused(t, await call(config(dir.path), environment('ADD')), 11, /Connection refused/);
  refused(t, await call(config(dir.path), environment('STATUS')), 50, /does not listen/);
});

test.serial('a refusal of the agent is an error with its text', async (t) => {
  await using dir = new RunDir();
  await dir.agent(500, 'ztunnel is not connected: "größer" \t');
  const outcome = await call(config(dir.path), environment('ADD'));
  refused(t, outcome, 101, /status 500: ztunnel is not connected: "größer" \t/);
  t.regex(dir.log(), /"podName":"cart-1","podNamespace":"shop"/);
});

test.serial('the text of a refusal is bounded and need not be UTF-8', async (t) => {
  await using dir = new RunDir();
  await dir.serve(
    http.createServer((request, response) => {
      request.resume();
      response.writeHead(503).end(Buffer.alloc(50_000, 0xe9));
    }),
  );
  const outcome = await call(config(dir.path), environment('ADD'));
  refused(t, outcome, 101, /status 503: \?{1000}/);
  t.true(outcome.stdout.length < 2_000);
});

const answers = test.macro(async (t, bytes: string, then: 'close' | 'hang' | 'reset', code: number, text: RegExp) => {
  await using dir = new RunDir();
  await dir.raw(bytes, then);
  const outcome = await call(config(dir.path), environment('ADD'));
  if (code === 0) t.is(outcome.exit, 0, outcome.stdout);
  else refused(t, outcome, code, text);
});
const OK = 'HTTP/1.1 200 OK\r\n';
test('an agent that never answers', answers, '', 'hang', 11, /did not answer in time/);
test('an agent that stops in its header', answers, `${OK}Content-`, 'hang', 11, /did not answer in time/);
test('an agent that stops in its body', answers, `${OK}Content-Length: 5\r\n\r\nab`, 'hang', 11, /in time/);
test.serial('an agent that closes at once', answers, '', 'close', 5, /not whole/);
test.serial('an agent that resets', answers, '', 'reset', 5, /not whole|cannot be read/);
test.serial('an answer cut in its header', answers, `${OK}Content-Le`, 'close', 5, /not whole/);
test.serial('an answer cut in its body', answers, `${OK}Content-Length: 5\r\n\r\nab`, 'close', 5, /not whole/);
test.serial(
  'an answer cut in a chunk',
  answers,
  `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nab`,
  'close',
  5,
  /not whole/,
);
test.serial(
  'an answer with a chunk size that is none',
  answers,
  `${OK}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
  'hang',
  5,
  /whole/,
);
test.serial('an answer with a length that is none', answers, `${OK}Content-Length: -1\r\n\r\n`, 'hang', 5, /not whole/);
test.serial('an answer that is not HTTP', answers, 'SSH-2.0-x\r\n\r\n', 'hang', 5, /not whole/);
test.serial('a status that is none', answers, 'HTTP/1.1 20 OK\r\n\r\n', 'hang', 5, /not whole/);
test.serial('a header without end', answers, `${OK}X: ${'x'.repeat(100_000)}`, 'hang', 5, /too large/);
test.serial('a body without end', answers, `${OK}\r\n${'x'.repeat(100_000)}`, 'hang', 5, /too large/);
test.serial('a declared body over the bound', answers, `${OK}Content-Length: 99999999\r\n\r\n`, 'hang', 5, /not whole/);
test.serial(
  'a whole answer on a connection that stays open',
  answers,
  `${OK}Content-Length: 2\r\n\r\nok`,
  'hang',
  0,
  /^/,
);
test.serial(
  'a whole answer in chunks',
  answers,
  `${OK}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  'hang',
  0,
  /^/,
);
test.serial('a whole answer that ends with the connection', answers, `HTTP/1.0 200 OK\r\n\r\nok`, 'close', 0, /^/);
test.serial(
  'a refusal in chunks',
  answers,
  'HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n4;x=y\r\nroom\r\n0\r\n\r\n',
  'hang',
  101,
  /: no room$/,
);

for (const verb of ['DEL', 'CHECK', 'GC']) {
  test.serial(`${verb} succeeds without the agent and prints nothing`, async (t) => {
    await using dir = new RunDir();
    t.deepEqual(await call(config(dir.path), environment(verb)), { exit: 0, stdout: '', json: {} });
  });
}

test.serial('DEL needs no namespace and no result', async (t) => {
  await using dir = new RunDir();
  const outcome = await call(config(dir.path, { prevResult: undefined }), environment('DEL', { CNI_NETNS: undefined }));
  t.deepEqual(outcome, { exit: 0, stdout: '', json: {} });
});

test.serial('STATUS succeeds when the agent listens and is 50 when it does not', async (t) => {
  await using dir = new RunDir();
  refused(t, await call(config(dir.path), environment('STATUS')), 50, /does not listen/);
  await dir.agent(200);
  t.deepEqual(await call(config(dir.path), environment('STATUS')), { exit: 0, stdout: '', json: {} });
});

test.serial('VERSION names all versions and repeats a known one', async (t) => {
  const only = { CNI_COMMAND: 'VERSION' };
  const known = await call('{"cniVersion":"0.4.0"}', only);
  t.deepEqual(known.json, { cniVersion: '0.4.0', supportedVersions: VERSIONS });
  for (const stdin of ['', '{"cniVersion":"9.9.9"}', '{"cniVersion":7}', 'nonsense']) {
    const outcome = await call(stdin, only);
    t.is(outcome.exit, 0);
    t.deepEqual(outcome.json, { cniVersion: '1.1.0', supportedVersions: VERSIONS });
  }
});

test.serial('a verb that the declared version does not know is refused', async (t) => {
  await using dir = new RunDir();
  const at = (cniVersion: string) => config(dir.path, { cniVersion });
  refused(t, await call(at('0.3.1'), environment('CHECK')), 1, /does not allow CHECK: 0\.3\.1/);
  refused(t, await call(at('1.0.0'), environment('GC')), 1, /does not allow GC/);
  refused(t, await call(at('1.0.0'), environment('STATUS')), 1, /does not allow/);
  refused(t, await call(at('2.0.0'), environment('ADD')), 1, /incompatible CNI versions: 2\.0\.0/);
});

test.serial('the log is bounded: a full one makes room once', async (t) => {
  await using dir = new RunDir();
  const log = join(dir.path, 'istio-cni.log');
  writeFileSync(log, 'x'.repeat(1024 * 1024));
  await call(config(dir.path), environment('ADD'));
  t.is(statSync(`${log}.1`).size, 1024 * 1024);
  t.is(dir.log().split('\n').length, 2);
});

test.serial('no library of the host is needed', (t) => {
  t.regex(spawnSync('ldd', [PLUGIN]).stderr.toString(), /not a dynamic executable/);
});
