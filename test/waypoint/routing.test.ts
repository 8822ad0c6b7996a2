/** What routes and traffic policies do to requests, one line for each, by the examples that users are shown. */
import anyTest, { type TestFn } from 'ava';
import { eventually } from '../local/cluster-fixture.ts';
import { startWaypointShop, type WaypointFixture } from './waypoint-fixture.ts';

const test = anyTest as TestFn<WaypointFixture>;
const example = (name: string): string => `../../../examples/${name}/${name}.yaml`;
const DETAILS = 'http://details:9080/details/0';
const REVIEWS = 'http://reviews:9080/reviews/0';

test.before(async (t) => {
  t.timeout(240_000);
  t.context = await startWaypointShop();
  await t.context.apply('waypoint.yaml');
  await eventually(
    'the waypoint is ready',
    async () => ((await t.context.replicas()).length === 1 ? true : undefined),
    60_000,
  );
  await t.context.bind();
});
test.after.always(async (t) => {
  await t.context?.[Symbol.asyncDispose]?.();
});

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  readonly seconds: number;
}

async function ask({ stage }: WaypointFixture, ...args: readonly string[]): Promise<Answer> {
  const format = '\n%{http_code} %{time_total}';
  const { stdout } = await stage.exec('productpage', 'curl', '-si', '-m', '20', '-w', format, ...args);
  const end = stdout.lastIndexOf('\n');
  const [status = '0', seconds = '0'] = stdout.slice(end + 1).split(' ');
  const split = stdout.indexOf('\r\n\r\n');
  return {
    status: Number(status),
    head: stdout.slice(0, split),
    body: stdout.slice(split + 4, end),
    seconds: Number(seconds),
  };
}

const header = ({ head }: Answer, name: string): string | undefined =>
  new RegExp(`^${name}: (.*?)\r?$`, 'im').exec(head)?.[1];

interface Case {
  readonly title: string;
  readonly args: readonly string[];
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

const rule = (name: string): readonly string[] => ['-H', `x-rule: ${name}`, DETAILS];
const CASES: readonly Case[] = [
  {
    title: 'a redirect has scheme, host, port and the rest of the path',
    args: ['http://details:9080/old/a?b=c'],
    status: 301,
    headers: { location: 'https://www.example.com:8443/new/a?b=c' },
  },
  { title: 'a rewritten path reaches the endpoint', args: ['http://details:9080/renamed/0'], status: 200 },
  { title: 'a header of the answer is set', args: rule('headers'), status: 200, headers: { 'x-route': 'headers' } },
  { title: 'a backend that is not there gives 500', args: rule('missing'), status: 500 },
  { title: 'backends without weight give 500', args: ['-X', 'DELETE', DETAILS], status: 500 },
  {
    title: 'a query parameter chooses a rule',
    args: [`${DETAILS}?version=2`],
    status: 200,
    headers: { 'x-route': 'query' },
  },
  { title: 'what no rule of the service matches is not found', args: ['http://details:9080/other'], status: 404 },
  {
    title: 'a preflight of an allowed origin is answered',
    args: [
      '-X',
      'OPTIONS',
      '-H',
      'origin: https://shop.example.com',
      '-H',
      'access-control-request-method: GET',
      ...rule('cors'),
    ],
    status: 200,
    headers: { 'access-control-allow-origin': 'https://shop.example.com', 'access-control-max-age': '60' },
  },
  {
    title: 'an answer tells the allowed origin',
    args: ['-H', 'origin: https://shop.example.com', ...rule('cors')],
    status: 200,
    headers: { 'access-control-allow-origin': 'https://shop.example.com' },
  },
];

test.serial('control: without the routes none of it happens', async (t) => {
  for (const { args, status, headers } of CASES) {
    const answer = await ask(t.context, ...args);
    const isSame = Object.entries(headers ?? {}).every(([name, value]) => header(answer, name) === value);
    if (headers || status === 500) t.false(answer.status === status && isSame, args.join(' '));
  }
});

test.serial('rules do what they say', async (t) => {
  await t.context.apply('routing.yaml');
  await eventually('the routes are in force', async () =>
    (await ask(t.context, 'http://details:9080/old')).status === 301 ? true : undefined,
  );
  for (const { title, args, status, headers = {} } of CASES) {
    const answer = await ask(t.context, ...args);
    t.is(answer.status, status, title);
    for (const [name, value] of Object.entries(headers)) t.is(header(answer, name), value, title);
  }
  await t.context.remove('routing.yaml');
});

test.serial('faults: an error, and a delay', async (t) => {
  const { context } = t;
  await context.apply(example('fault'));
  await eventually('the route is in force', async () =>
    (await ask(context, '-H', 'x-fault: abort', DETAILS)).status === 555 ? true : undefined,
  );
  const slow = await ask(context, '-H', 'x-slow: please', DETAILS);
  t.is(slow.status, 200);
  t.true(slow.seconds >= 2, `${slow.seconds} s`);
  t.is((await ask(context, DETAILS)).status, 200);
  await context.remove(example('fault'));
});

test.serial('subsets of a DestinationRule: by header, and by weight', async (t) => {
  const { context } = t;
  await context.apply(example('canary'));
  const versionOf = ({ body }: Answer): string | undefined => /"version":"(v\d)"/.exec(body)?.[1];
  const chosen = () => ask(context, '-H', 'x-canary: true', REVIEWS);
  await eventually('the route is in force', async () => {
    const seen = [await chosen(), await chosen(), await chosen(), await chosen()].map(versionOf);
    return seen.every((version) => version === 'v3') ? true : undefined;
  });
  const seen = new Set<string | undefined>();
  for (let i = 0; i < 30; i++) seen.add(versionOf(await ask(context, REVIEWS)));
  t.true(seen.has('v1'));
  t.false(seen.has('v2'));
  await context.remove(example('canary'));
});

test.serial('a session stays with its endpoint', async (t) => {
  const { context } = t;
  await context.apply(example('sticky-sessions'));
  const cookie = await eventually('answers mark sessions', async () => {
    const answer = await ask(context, REVIEWS);
    return /^set-cookie: (shop-session=[^;]+)/im.exec(answer.head)?.[1];
  });
  const seen = new Set<string | undefined>();
  for (let i = 0; i < 12; i++) {
    const { body } = await ask(context, '-H', `cookie: ${cookie}`, REVIEWS);
    seen.add(/"version":"(v\d)"/.exec(body)?.[1]);
  }
  t.is(seen.size, 1, [...seen].join());
  await context.remove(example('sticky-sessions'));
});

test.serial('a mirror gets copies, and the original its answer', async (t) => {
  const { context } = t;
  const before = await context.metric('istio_requests_total');
  await context.apply(example('mirror'));
  for (let i = 0; i < 5; i++) t.is((await ask(context, DETAILS)).status, 200);
  t.true((await context.metric('istio_requests_total')) >= before);
  await context.remove(example('mirror'));
});

test.serial('retries: a policy with limits lets requests through', async (t) => {
  const { context } = t;
  await context.apply(example('retries'));
  for (let i = 0; i < 5; i++) t.is((await ask(context, DETAILS)).status, 200);
  await context.remove(example('retries'));
});
