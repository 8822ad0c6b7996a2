import test, { type ExecutionContext } from 'ava';
import { DeltaClient } from './delta-client.ts';
import type { DeltaResource, DeltaResponse } from './message-codec.ts';
import type { Subscription } from './subscription.ts';

const A = 'type/A';
const B = 'type/B';
const node = { id: 'ztunnel~127.0.0.1~pod.ns~ns.svc.cluster.local', metadata: { NODE_NAME: 'node1' } };

/** Keeps names; refuses resources whose bytes are empty. */
function keeping(typeUrl: string, mode: Subscription['mode'], kept: Map<string, string>): Subscription {
  return {
    typeUrl,
    mode,
    accept(resources, removed) {
      const bad = resources.filter(({ bytes }) => bytes.length === 0);
      for (const { name, bytes } of resources) if (bytes.length > 0) kept.set(name, Buffer.from(bytes).toString());
      for (const name of removed) kept.delete(name);
      return bad.map(({ name }) => ({ name, reason: 'empty' }));
    },
  };
}
function setUp(mode: Subscription['mode'] = 'wildcard') {
  const kept = new Map<string, string>();
  const client = new DeltaClient(node, [keeping(A, mode, kept), keeping(B, 'wildcard', new Map())]);
  return { client, kept };
}
const resource = (name: string, text = 'x', extra: Partial<DeltaResource> = {}): DeltaResource => ({
  name,
  version: `v-${text}`,
  aliases: [],
  typeUrl: A,
  bytes: Buffer.from(text),
  ...extra,
});
let nonces = 0;
function response(parts: Partial<DeltaResponse> = {}): DeltaResponse {
  nonces += 1;
  return { typeUrl: A, nonce: `n${nonces}`, systemVersion: '', resources: [], removed: [], ...parts };
}
const versionsSent = (client: DeltaClient) => Object.fromEntries(client.open()[0]?.initialVersions ?? []);
async function isSettled(promise: Promise<void>): Promise<boolean> {
  const open = Symbol('open');
  return (await Promise.race([promise, Promise.resolve().then(() => Promise.resolve(open))])) !== open;
}

test('the first requests name the node and subscribe to everything', (t) => {
  const { client } = setUp();
  const requests = client.open();
  t.deepEqual(
    requests.map((request) => request.typeUrl),
    [A, B],
  );
  for (const request of requests) {
    t.deepEqual(request.node, node);
    t.deepEqual([request.subscribe, request.unsubscribe], [[], []]);
    t.is(request.initialVersions.size, 0);
  }
});
test('on demand the first request subscribes to everything and to nothing', (t) => {
  const [address, policy] = setUp('on-demand').client.open();
  t.deepEqual([address?.subscribe, address?.unsubscribe], [['*'], ['*']]);
  t.deepEqual([policy?.subscribe, policy?.unsubscribe], [[], []]);
});
test('an answer carries the nonce and no node', (t) => {
  const { client, kept } = setUp();
  const { answer } = client.receive(response({ nonce: 'abc', resources: [resource('a')] }));
  t.is(answer.responseNonce, 'abc');
  t.is(answer.node, undefined);
  t.is(answer.errorMessage, undefined);
  t.is(kept.get('a'), 'x');
});
test('a bad resource is refused alone, and its former version stays', (t) => {
  const { client, kept } = setUp();
  client.receive(response({ resources: [resource('a', '1'), resource('b', '1')] }));
  const { answer, rejections } = client.receive(response({ resources: [resource('a', ''), resource('b', '2')] }));
  t.is(answer.errorMessage, 'a: empty');
  t.is(rejections.length, 1);
  t.deepEqual(Object.fromEntries(kept), { a: '1', b: '2' });
  t.deepEqual(versionsSent(client), { a: 'v-1', b: 'v-2' });
});
test('a resource that was never good has no version', (t) => {
  const { client } = setUp();
  client.receive(response({ resources: [resource('a', ''), resource('b')] }));
  t.deepEqual(versionsSent(client), { b: 'v-x' });
});
test('reasons are joined, and very many are counted', (t) => {
  const { client } = setUp();
  const two = client.receive(response({ resources: [resource('a', ''), resource('b', '')] }));
  t.is(two.answer.errorMessage, 'a: empty; b: empty');
  const many = Array.from({ length: 150 }, (_, i) => resource(`r${i}`, ''));
  t.true(client.receive(response({ resources: many })).answer.errorMessage?.endsWith('; and 50 more'));
});
test('a removal is forgotten', (t) => {
  const { client, kept } = setUp();
  client.receive(response({ resources: [resource('a'), resource('b')] }));
  client.receive(response({ removed: ['a', 'unknown'] }));
  t.deepEqual([...kept.keys()], ['b']);
  t.deepEqual(versionsSent(client), { b: 'v-x' });
});
test('an unknown type is acknowledged', (t) => {
  const { client } = setUp();
  const { answer } = client.receive(response({ typeUrl: 'type/other', nonce: 'o', resources: [resource('a')] }));
  t.is(answer.responseNonce, 'o');
  t.is(answer.errorMessage, undefined);
});
test('a state that cannot take a change refuses it and goes on', (t) => {
  const client = new DeltaClient(node, [
    {
      typeUrl: A,
      mode: 'wildcard',
      accept() {
        throw new Error('full');
      },
    },
  ]);
  t.is(client.receive(response({ resources: [resource('a')] })).answer.errorMessage, 'a: full');
  t.false(client.isReady);
  t.deepEqual(versionsSent(client), {});
});

test('readiness waits for an accepted response of every wildcard type', async (t) => {
  const { client } = setUp();
  client.receive(response({ resources: [resource('a', '')] })); // refused: does not count
  client.receive(response({ typeUrl: B }));
  t.false(client.isReady);
  t.false(await isSettled(client.ready));
  client.receive(response()); // empty counts
  t.true(client.isReady);
  await client.ready;
});
test('readiness does not wait for a type on demand', async (t) => {
  const { client } = setUp('on-demand');
  client.receive(response({ typeUrl: B }));
  t.true(client.isReady);
  await client.ready;
});

const wakes = test.macro(async (t: ExecutionContext, parts: Partial<DeltaResponse>, woken: boolean) => {
  const { client, kept } = setUp('on-demand');
  const { request, done } = client.demand(A, '/10.0.0.1');
  t.deepEqual(request?.subscribe, ['/10.0.0.1']);
  t.is(request?.node, undefined);
  t.is(client.demand(A, '/10.0.0.1').request, undefined); // asked once
  let keptWhenWoken = -1;
  const waiting = done.then(() => {
    keptWhenWoken = kept.size;
  });
  client.receive(response(parts));
  t.is(await isSettled(waiting), woken);
  if (woken) t.is(keptWhenWoken, parts.resources?.length ?? 0);
});
test('a resource of that name wakes who waits', wakes, { resources: [resource('/10.0.0.1')] }, true);
test(
  'a resource of that alias wakes who waits',
  wakes,
  { resources: [resource('uid', 'x', { aliases: ['/10.0.0.1'] })] },
  true,
);
test('the removal of that name wakes who waits', wakes, { removed: ['/10.0.0.1'] }, true);
test('another resource wakes nobody', wakes, { resources: [resource('other')] }, false);

test('who waits is woken by the next stream', async (t) => {
  const { client } = setUp('on-demand');
  const { done } = client.demand(A, 'wanted');
  t.deepEqual(versionsSent(client), { wanted: '' });
  client.receive(response({ resources: [resource('wanted')] }));
  await done;
  t.deepEqual(versionsSent(client), { wanted: 'v-x' });
});
test('what is waited for has a bound', (t) => {
  const { client } = setUp('on-demand');
  for (let i = 0; i < 10_000; i += 1) client.demand(A, `n${i}`);
  t.throws(() => client.demand(A, 'one too many'), { code: 'ERR_LIMIT' });
  t.throws(() => client.demand(A, 'n1'), { code: 'ERR_LIMIT' });
  client.receive(response({ removed: ['n1'] }));
  t.notThrows(() => client.demand(A, 'n2'));
});
test('who gives up leaves nothing behind, and the next one asks again', async (t) => {
  const { client } = setUp('on-demand');
  const [first, second] = [client.demand(A, 'wanted'), client.demand(A, 'wanted')];
  first.cancel();
  first.cancel();
  t.deepEqual(versionsSent(client), { wanted: '' });
  second.cancel();
  t.deepEqual(versionsSent(client), {});
  t.deepEqual(client.demand(A, 'wanted').request?.subscribe, ['wanted']);
});
test('a name that stood for another resource is not asked for on the next stream', (t) => {
  const { client } = setUp('on-demand');
  client.demand(A, '/10.0.0.1');
  client.receive(response({ resources: [resource('uid', 'x', { aliases: ['/10.0.0.1'] })] }));
  t.deepEqual(versionsSent(client), { uid: 'v-x' });
});
test('who waits for a resource that is refused is told so', async (t) => {
  const { client } = setUp('on-demand');
  const { done } = client.demand(A, 'wanted');
  client.receive(response({ resources: [resource('wanted', '')] }));
  await t.throwsAsync(done, { code: 'ERR_MALFORMED', message: 'wanted: empty' });
});
