/**
 * What a waypoint does to protocols, seen from both ends: a client in one pod, a server in another, and what each was told
 * by the other. The same cases are run without a waypoint first, where they must show its absence.
 */
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { eventually, startCluster, type TestCluster } from '../local/cluster-fixture.ts';

const test = anyTest as TestFn<{ readonly cluster: TestCluster }>;
const MANIFEST = new URL('manifests/protocols.yaml', import.meta.url).pathname;
const CLIENT = join(import.meta.dirname, 'apps/client.ts');

async function run<T>(cluster: TestCluster, name: string): Promise<T> {
  const { stdout, stderr } = await cluster.exec('deploy/client', process.execPath, CLIENT, name);
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`${name}: ${stdout} ${stderr}`);
  }
}

interface Seen {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly failed?: string;
}

interface Told {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: string;
}

const told = ({ body }: Seen): Told => JSON.parse(body);

test.before(async (t) => {
  t.timeout(180_000);
  t.context = { cluster: await startCluster({ mesh: true }) };
  await t.context.cluster.applyFile(MANIFEST);
  await t.context.cluster.readyPod('deploy/server');
  await t.context.cluster.readyPod('deploy/client');
  await t.context.cluster.readyPod('deploy/waypoint');
  await eventually('client and server are in the mesh', async () => {
    const pods = (await t.context.cluster.pods()).filter(({ metadata }) => /^(client|server)-/.test(metadata.name));
    const states = pods.map(({ metadata }) => metadata.annotations?.['ambient.istio.io/redirection']);
    return states.length === 2 && states.every((state) => state === 'enabled') ? true : undefined;
  });
});
test.after.always(async (t) => {
  await t.context.cluster?.[Symbol.asyncDispose]();
});

test.serial('control: without a waypoint headers pass as they are', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'headers');
  t.is(seen.status, 200);
  t.is(seen.headers.server, undefined);
  t.is(told(seen).url, '/a/../b/./c%41?x=1');
  t.is(told(seen).headers['x-forwarded-client-cert'], 'By=me');
});

test.serial('a service gets its waypoint', async (t) => {
  await t.context.cluster.label('proto', { 'istio.io/use-waypoint': 'waypoint' });
  await eventually('requests pass the waypoint', async () => {
    const seen = await run<Seen>(t.context.cluster, 'headers');
    return seen.headers?.server === 'istio-envoy' ? true : undefined;
  });
  t.pass();
});

test.serial(
  'the path is normalised, and headers that end at a proxy or that only proxies may set do not pass',
  async (t) => {
    const { url, headers } = told(await run<Seen>(t.context.cluster, 'headers'));
    t.is(url, '/b/cA?x=1');
    for (const name of ['x-forwarded-client-cert', 'x-envoy-max-retries', 'keep-alive', 'proxy-connection', 'x-hop']) {
      t.is(headers[name], undefined, name);
    }
    t.is(headers['x-two'], '1, 2');
    t.is(headers['x-forwarded-proto'], 'http');
    t.regex(headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/);
    t.is(headers.host, 'server:8080');
  },
);

test.serial('bodies go both ways, whatever their size', async (t) => {
  t.is(told(await run<Seen>(t.context.cluster, 'post')).body, 'hello');
  t.deepEqual(await run(t.context.cluster, 'large'), { status: 200, bytes: 8_000_000 });
  t.deepEqual(await run(t.context.cluster, 'upload'), { status: 200, bytes: 64 * 65_536 });
});

test.serial('trailers go both ways over HTTP/1.1', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'trailers');
  t.is(told(seen).trailers['x-check'], 'sum');
  t.is(seen.trailers['x-sum'], 'complete');
});

test.serial('a client that waits for leave to send its body gets it from the server', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'continue');
  t.is(told(seen).body, 'body');
});

test.serial('early hints come before the answer', async (t) => {
  t.deepEqual(await run(t.context.cluster, 'hints'), { status: 200, links: ['</style.css>; rel=preload'] });
});

test.serial('HEAD has no body, cookies stay apart', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'head');
  t.is(seen.status, 200);
  t.is(seen.body, '');
  t.deepEqual(seen.headers['set-cookie'], ['a=1', 'b=2'] as never);
});

test.serial('an answer may come before the request is complete', async (t) => {
  t.is((await run<Seen>(t.context.cluster, 'early')).status, 413);
});

test.serial('half an answer is not taken for a whole one', async (t) => {
  t.deepEqual(await run(t.context.cluster, 'abort'), { status: 200, error: 'ECONNRESET' });
});

test.serial('an upgraded connection carries bytes both ways', async (t) => {
  t.deepEqual(await run(t.context.cluster, 'upgrade'), { status: 101, protocol: 'echo', echoed: 'ping' });
});

test.serial('one connection carries many requests', async (t) => {
  t.true(await run(t.context.cluster, 'keepalive'));
});

const refused = test.macro(async (t, name: string, status: number) => {
  const seen = await run<string>((t.context as { cluster: TestCluster }).cluster, name);
  t.regex(seen, new RegExp(`^HTTP/1.1 ${status} `), `${name}: ${seen.slice(0, 80)}`);
  t.is(seen.match(/HTTP\/1\.1 \d/g)?.length, 1, 'one answer only');
});
test.serial('no Host', refused, 'noHost', 400);
test.serial('both a length and a coding', refused, 'smuggleBoth', 400);
test.serial('two lengths', refused, 'smuggleTwoLengths', 400);
test.serial('a coding nobody knows', refused, 'smuggleCoding', 400);
test.serial('a folded header line', refused, 'obsFold', 400);
test.serial('lines that end with LF alone', refused, 'bareLf', 400);
test.serial('NUL in a header', refused, 'nul', 400);
test.serial('150 header lines', refused, 'manyHeaders', 431);
test.serial('a header of 70 kB', refused, 'hugeHeader', 431);
test.serial('CONNECT inside', refused, 'connectInside', 405);

test.serial('HTTP/2: bodies and trailers go both ways', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'h2');
  t.is(seen.status, 200);
  t.is(seen.body, 'one two ');
  t.is(JSON.parse(seen.trailers['x-trailers'] ?? '{}')['x-from-client'], 'yes');
});

test.serial('gRPC: unary, server streaming and both ways at once', async (t) => {
  const unary = await run<Seen>(t.context.cluster, 'grpcUnary');
  t.is(unary.trailers['grpc-status'], '0');
  const pushed = await run<Seen>(t.context.cluster, 'grpcServerStream');
  t.is(pushed.body.split('\n').length, 6);
  t.deepEqual(await run(t.context.cluster, 'grpcBidi'), ['a', 'b', 'c']);
});

test.serial('HTTP/2: streams do not wait for each other, a reset is told', async (t) => {
  t.is(await run(t.context.cluster, 'h2Parallel'), 50);
  const reset = await run<Seen>(t.context.cluster, 'h2Reset');
  t.is(reset.status, 503);
});

test.serial('HTTP/2 to a port that speaks HTTP/1.1', async (t) => {
  const seen = await run<Seen>(t.context.cluster, 'h2OnHttp1');
  t.is(seen.status, 200);
  t.is(told(seen).url, '/over');
});

test.serial('on a port that says nothing a server may speak first, and half-close travels', async (t) => {
  t.is(await run(t.context.cluster, 'serverFirst'), '220 hello\nbye quit');
});

test.serial('TLS passes as it is', async (t) => {
  t.is(await run(t.context.cluster, 'tls'), 'got 22 10');
});
