import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { DeltaClient } from './delta-client.ts';
import { DeltaSession } from './delta-session.ts';
import {
  type DeltaRequest,
  type DeltaResponse,
  decodeDeltaRequest,
  decodeDeltaResponse,
  encodeDeltaRequest,
  encodeDeltaResponse,
} from './message-codec.ts';
import { ResourceStore } from './resource-store.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from './type-url.ts';

const node = { id: 'z', podName: 'z', namespace: 'istio-system', nodeName: 'node1' };

async function setUp() {
  const store = await ResourceStore.create();
  let nonces = 0;
  let woken = 0;
  const newNonce = () => {
    nonces += 1;
    return `n${nonces}`;
  };
  const session = new DeltaSession(store, node, {
    newNonce,
    onPending: () => {
      woken += 1;
    },
  });
  /** The next response as its reader sees it. */
  const next = (): DeltaResponse | undefined => {
    const response = session.next();
    return response && decodeDeltaResponse(encodeDeltaResponse(response));
  };
  const put = (name: string, text: string, extra: object = {}): void => {
    store.set(ADDRESS_TYPE, { name, bytes: Buffer.from(text), ...extra });
    store.commit();
  };
  const drop = (name: string): void => {
    store.delete(ADDRESS_TYPE, name);
    store.commit();
  };
  return { store, session, next, put, drop, woken: () => woken };
}
const request = (parts: Partial<DeltaRequest> = {}): DeltaRequest => ({
  typeUrl: ADDRESS_TYPE,
  subscribe: [],
  unsubscribe: [],
  initialVersions: new Map(),
  responseNonce: '',
  ...parts,
});
const ON_DEMAND = { subscribe: ['*'], unsubscribe: ['*'] };
const names = (response: DeltaResponse | undefined) => response?.resources.map(({ name }) => name).sort();
const ack = (response: DeltaResponse | undefined) =>
  request({ typeUrl: response?.typeUrl ?? '', responseNonce: response?.nonce ?? '' });

test('the first request is answered with everything, once', async (t) => {
  const { session, next, put } = await setUp();
  put('a', '1');
  put('b', '1');
  session.receive(request());
  const first = next();
  t.deepEqual(names(first), ['a', 'b']);
  t.deepEqual(first?.removed, []);
  t.is(next(), undefined);
  session.receive(ack(first));
  t.is(next(), undefined);
});
test('with nothing to send the answer is empty', async (t) => {
  const { session, next } = await setUp();
  session.receive(request());
  t.deepEqual(names(next()), []);
  session.receive(request({ typeUrl: AUTHORIZATION_TYPE }));
  t.deepEqual(names(next()), []);
});
test('a change is sent at once, and only it', async (t) => {
  const { session, next, put, drop, woken } = await setUp();
  put('a', '1');
  put('b', '1');
  session.receive(request());
  session.receive(ack(next()));
  put('b', '2');
  t.is(woken(), 1);
  const change = next();
  t.deepEqual(names(change), ['b']);
  session.receive(ack(change));
  put('b', '2'); // the same again
  t.is(woken(), 1);
  drop('a');
  t.deepEqual(next()?.removed, ['a']);
});
test('a slow subscriber gets the newest state of each name once', async (t) => {
  const { session, next, put, drop } = await setUp();
  session.receive(request());
  const first = next();
  for (let i = 0; i < 1_000; i += 1) put('a', `${i}`);
  put('b', '1');
  drop('b');
  put('c', '1');
  t.is(next(), undefined);
  t.is(session.status()[0]?.pendingNames, 3);
  session.receive(ack(first));
  const change = next();
  t.deepEqual(names(change), ['a', 'c']);
  t.deepEqual(change?.removed, ['b']);
  t.is(Buffer.from(change?.resources.find((r) => r.name === 'a')?.bytes ?? []).toString(), '999');
});
test('a stale nonce is ignored', async (t) => {
  const { session, next, put } = await setUp();
  session.receive(request());
  const first = next();
  put('a', '1');
  t.is(session.receive(request({ responseNonce: 'old' })), 'ignored');
  t.is(next(), undefined);
  t.is(session.receive(ack(first)), 'accepted');
  t.deepEqual(names(next()), ['a']);
});
test('a refusal is kept for the status and is not answered', async (t) => {
  const { session, next, put } = await setUp();
  put('a', '1');
  session.receive(request());
  const first = next();
  session.receive({ ...ack(first), errorMessage: 'a: bad' });
  t.is(next(), undefined);
  t.like(session.status()[0], { lastNack: 'a: bad', ackedGeneration: 1, syncedGeneration: undefined });
  put('a', '2');
  session.receive(ack(next()));
  t.like(session.status()[0], { lastNack: undefined, sentGeneration: 2, ackedGeneration: 2, syncedGeneration: 2 });
});
test('after a reconnect only what differs is sent, and what is gone', async (t) => {
  const { store, session, next, put } = await setUp();
  put('a', '1');
  put('b', '1');
  const version = (name: string) => store.find(ADDRESS_TYPE, name)?.version ?? '';
  session.receive(
    request({
      initialVersions: new Map([
        ['a', version('a')],
        ['b', 'other'],
        ['gone', 'x'],
      ]),
    }),
  );
  const first = next();
  t.deepEqual(names(first), ['b']);
  t.deepEqual(first?.removed, ['gone']);
});
test('policies have no version and are sent again', async (t) => {
  const { store, session, next } = await setUp();
  store.set(AUTHORIZATION_TYPE, { name: 'ns/p', bytes: Buffer.from('1') });
  store.commit();
  session.receive(request({ typeUrl: AUTHORIZATION_TYPE, initialVersions: new Map([['ns/p', '']]) }));
  const first = next();
  t.deepEqual(names(first), ['ns/p']);
  t.is(first?.resources[0]?.version, '');
});

test('a policy arrives before the address that lists it, and leaves after', async (t) => {
  const { store, session, next } = await setUp();
  session.receive(request());
  session.receive(request({ typeUrl: AUTHORIZATION_TYPE }));
  for (let i = 0; i < 2; i += 1) session.receive(ack(next()));
  store.set(ADDRESS_TYPE, { name: 'a', bytes: Buffer.from('lists p') });
  store.set(AUTHORIZATION_TYPE, { name: 'p', bytes: Buffer.from('1') });
  store.commit();
  const arrivals = [next(), next()];
  t.deepEqual(
    arrivals.map((r) => r?.typeUrl),
    [AUTHORIZATION_TYPE, ADDRESS_TYPE],
  );
  for (const arrival of arrivals) session.receive(ack(arrival));
  store.set(ADDRESS_TYPE, { name: 'a', bytes: Buffer.from('lists nothing') });
  store.delete(AUTHORIZATION_TYPE, 'p');
  store.commit();
  const address = next();
  t.is(address?.typeUrl, ADDRESS_TYPE);
  t.is(next(), undefined);
  session.receive(ack(address));
  t.deepEqual(next()?.removed, ['p']);
});

test('on demand nothing comes unasked but what is on the node', async (t) => {
  const { session, next, put } = await setUp();
  put('here', '1', { node: 'node1', aliases: ['/10.0.0.1'] });
  put('there', '1', { node: 'node2' });
  session.receive(request(ON_DEMAND));
  const first = next();
  t.deepEqual(names(first), ['here']);
  t.deepEqual(first?.resources[0]?.aliases, ['/10.0.0.1']);
  session.receive(ack(first));
  put('there', '2', { node: 'node2' });
  t.is(next(), undefined);
  put('new', '1', { node: 'node1' });
  t.deepEqual(names(next()), ['new']);
});
test('an asked service brings its members, also those that come later', async (t) => {
  const { session, next, put } = await setUp();
  put('ns/svc', '1', { aliases: ['/10.96.0.1'] });
  put('w1', '1', { memberOf: ['ns/svc'] });
  session.receive(request(ON_DEMAND));
  session.receive(ack(next()));
  session.receive(request({ subscribe: ['/10.96.0.1'] }));
  const answer = next();
  t.deepEqual(names(answer), ['ns/svc', 'w1']);
  session.receive(ack(answer));
  put('w2', '1', { memberOf: ['ns/svc'] });
  t.deepEqual(names(next()), ['w2']);
});
test('an unknown name is answered as removed, and comes when it is there', async (t) => {
  const { session, next, put } = await setUp();
  session.receive(request(ON_DEMAND));
  session.receive(ack(next()));
  session.receive(request({ subscribe: ['/10.0.0.9'] }));
  const answer = next();
  t.deepEqual(answer?.removed, ['/10.0.0.9']);
  session.receive(ack(answer));
  put('late', '1', { aliases: ['/10.0.0.9'] });
  t.deepEqual(names(next()), ['late']);
});
test('an unsubscribed name is quiet', async (t) => {
  const { session, next, put } = await setUp();
  put('a', '1');
  session.receive(request(ON_DEMAND));
  session.receive(ack(next()));
  session.receive(request({ subscribe: ['a'] }));
  session.receive(ack(next()));
  session.receive(request({ unsubscribe: ['a'] }));
  put('a', '2');
  t.is(next(), undefined);
});
test('a reconnected subscriber on demand keeps its names', async (t) => {
  const { session, next, put } = await setUp();
  put('a', '1', { aliases: ['/10.0.0.1'] });
  session.receive(
    request({
      ...ON_DEMAND,
      initialVersions: new Map([
        ['/10.0.0.1', ''],
        ['gone', ''],
      ]),
    }),
  );
  const first = next();
  t.deepEqual(names(first), ['a']);
  t.deepEqual(first?.removed, ['gone']);
});
test('a subscriber cannot ask for names without end', async (t) => {
  const { session } = await setUp();
  session.receive(request(ON_DEMAND));
  const many = Array.from({ length: 100_001 }, (_, i) => `n${i}`);
  t.is(session.receive(request({ subscribe: many })), 'too-many-names');
});
test('a closed session hears of nothing', async (t) => {
  const { session, put, woken } = await setUp();
  session.receive(request());
  session[Symbol.dispose]();
  put('a', '1');
  t.is(woken(), 0);
});

test('versions are those of the recorded control plane', async (t) => {
  const store = await ResourceStore.create();
  const url = new URL('testdata/recorded-responses.json', import.meta.url);
  const [{ resources }] = JSON.parse(readFileSync(url, 'utf8'));
  for (const { name, value_base64 } of resources) {
    store.set(ADDRESS_TYPE, { name, bytes: Buffer.from(value_base64, 'base64') });
  }
  store.commit();
  for (const { name, version } of resources) t.is(store.find(ADDRESS_TYPE, name)?.version, version);
});
test('replacing all resources changes what differs', async (t) => {
  const store = await ResourceStore.create();
  const input = (name: string, text: string) => ({ name, bytes: Buffer.from(text) });
  store.replaceAll('t', [input('a', '1'), input('b', '1'), input('c', '1')]);
  store.commit();
  store.replaceAll('t', [input('a', '1'), input('b', '2'), input('d', '1')]);
  t.deepEqual([...(store.commit().get('t') ?? [])].sort(), ['b', 'c', 'd']);
  store.replaceAll('t', [input('a', '1'), input('b', '2'), input('d', '1')]);
  t.is(store.commit().size, 0);
  t.is(store.generation, 2);
});

/** A client and a server machine with a wire between them that may lose the connection at any moment. */
test('client and server agree after any sequence of edits, delays and broken connections', async (t) => {
  const edit = fc.record({
    kind: fc.constantFrom('set' as const, 'set' as const, 'delete' as const),
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    text: fc.constantFrom('1', '2', 'bad'),
  });
  const step = fc.oneof(edit, fc.constant({ kind: 'deliver' as const }), fc.constant({ kind: 'break' as const }));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const store = await ResourceStore.create();
      const held = new Map<string, string>();
      const lastGood = new Map<string, string>(); // naive model of what the client must hold
      const client = new DeltaClient({ id: 'z', metadata: {} }, [
        {
          typeUrl: ADDRESS_TYPE,
          mode: 'wildcard',
          accept(resources, removed) {
            const texts = resources.map(({ name, bytes }) => ({ name, text: Buffer.from(bytes).toString() }));
            for (const { name, text } of texts) if (text !== 'bad') held.set(name, text);
            for (const name of removed) held.delete(name);
            return texts.filter(({ text }) => text === 'bad').map(({ name }) => ({ name, reason: 'bad' }));
          },
        },
      ]);
      let nonces = 0;
      const newNonce = () => {
        nonces += 1;
        return String(nonces);
      };
      const connect = () => {
        const session = new DeltaSession(store, node, { newNonce, onPending: () => undefined });
        for (const first of client.open()) session.receive(decodeDeltaRequest(encodeDeltaRequest(first)));
        return session;
      };
      let session = connect();
      const deliver = (): boolean => {
        const response = session.next();
        if (!response) return false;
        const { answer } = client.receive(decodeDeltaResponse(encodeDeltaResponse(response)));
        session.receive(decodeDeltaRequest(encodeDeltaRequest(answer)));
        return true;
      };
      for (const one of steps) {
        if (one.kind === 'deliver') deliver();
        else if (one.kind === 'break') {
          session[Symbol.dispose]();
          session = connect();
        } else {
          if (one.kind === 'set') store.set(ADDRESS_TYPE, { name: one.name, bytes: Buffer.from(one.text) });
          else store.delete(ADDRESS_TYPE, one.name);
          store.commit();
        }
      }
      for (let i = 0; deliver(); i += 1) if (i > 10) throw new Error('the server never comes to rest');
      for (const name of store.names(ADDRESS_TYPE)) {
        const text = Buffer.from(store.find(ADDRESS_TYPE, name)?.bytes ?? []).toString();
        if (text !== 'bad') lastGood.set(name, text);
      }
      // A name whose newest state is bad may hold a former good one; every other name is exactly the server's.
      for (const [name, text] of lastGood) t.is(held.get(name), text);
      for (const name of held.keys()) t.truthy(store.find(ADDRESS_TYPE, name));
    }),
    { numRuns: 200 },
  );
});

test('an address that only a block covers brings the service of the block, and is answered under its own name', async (t) => {
  const { session, next, put, drop } = await setUp();
  put('ns/wide', '1', { aliases: ['/10.5.0.0/16'] });
  put('member', '1', { memberOf: ['ns/wide'], aliases: ['/10.0.0.2'] });
  put('ns/other', '1', { aliases: ['/10.6.0.0/16'] });
  session.receive(request(ON_DEMAND));
  session.receive(ack(next()));
  session.receive(request({ subscribe: ['/10.5.3.7'] }));
  const answer = next();
  t.deepEqual(names(answer), ['member', 'ns/wide']);
  t.deepEqual(answer?.removed, ['/10.5.3.7']);
  session.receive(ack(answer));
  // Later changes of the service and of who belongs to it follow.
  put('ns/wide', '2', { aliases: ['/10.5.0.0/16'] });
  put('late', '1', { memberOf: ['ns/wide'], aliases: ['/10.0.0.3'] });
  put('ns/other', '2', { aliases: ['/10.6.0.0/16'] });
  const change = next();
  t.deepEqual(names(change), ['late', 'ns/wide']);
  session.receive(ack(change));
  drop('ns/wide');
  t.deepEqual(next()?.removed, ['ns/wide']);
});

test('a block that comes after an address in it was asked for is told, with its members', async (t) => {
  const { session, next, put, store } = await setUp();
  session.receive(request(ON_DEMAND));
  session.receive(ack(next()));
  session.receive(request({ subscribe: ['/10.5.3.7'] }));
  const unknown = next();
  t.deepEqual([names(unknown), unknown?.removed], [[], ['/10.5.3.7']]);
  session.receive(ack(unknown));
  put('ns/other', '1', { aliases: ['/10.6.0.0/16'] });
  t.is(next(), undefined); // the control: another block is none of its business
  const bytes = Buffer.from('1');
  store.set(ADDRESS_TYPE, { name: 'member', bytes, memberOf: ['ns/wide'] });
  store.set(ADDRESS_TYPE, { name: 'ns/wide', bytes, aliases: ['/10.5.0.0/16'] });
  store.commit();
  t.deepEqual(names(next()), ['member', 'ns/wide']);
});

test('a client that asks for an address in a block is woken when the service has been applied', async (t) => {
  const { session, next, put } = await setUp();
  put('ns/wide', '1', { aliases: ['/10.5.0.0/16'] });
  const applied: string[] = [];
  const client = new DeltaClient({ id: 'z', metadata: {} }, [
    {
      typeUrl: ADDRESS_TYPE,
      mode: 'on-demand',
      accept(resources, removed) {
        applied.push(...resources.map(({ name }) => name), ...removed.map((name) => `-${name}`));
        return [];
      },
    },
  ]);
  for (const first of client.open()) session.receive(first);
  const turn = () => {
    const response = next();
    if (response) session.receive(client.receive(response).answer);
  };
  turn();
  const demanded = client.demand(ADDRESS_TYPE, '/10.5.3.7');
  if (demanded.request) session.receive(demanded.request);
  turn();
  await demanded.done;
  t.deepEqual(applied, ['ns/wide', '-/10.5.3.7']);
});

test('wherever a stream breaks, no address lists a policy that the subscriber does not have', async (t) => {
  const store = await ResourceStore.create();
  const step = fc.constantFrom('list', 'unlist', 'send', 'answer-policies', 'answer-addresses');
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      store.replaceAll(ADDRESS_TYPE, [{ name: 'server', bytes: Buffer.from('0 plain') }]);
      store.replaceAll(AUTHORIZATION_TYPE, []);
      store.commit();
      let nonces = 0;
      using session = new DeltaSession(store, node, { newNonce: () => `n${nonces++}`, onPending: () => {} });
      const unanswered = new Map<string, DeltaResponse>();
      let known = false;
      let listed = false;
      const send = (): void => {
        for (let response = session.next(); response; response = session.next()) {
          const got = decodeDeltaResponse(encodeDeltaResponse(response));
          unanswered.set(got.typeUrl, got);
          if (got.typeUrl === AUTHORIZATION_TYPE)
            known = got.resources.length > 0 || (known && got.removed.length === 0);
          for (const { bytes } of got.typeUrl === ADDRESS_TYPE ? got.resources : [])
            listed = Buffer.from(bytes).toString().endsWith('listed');
          t.true(known || !listed);
        }
      };
      const answer = (typeUrl: string): void => {
        const response = unanswered.get(typeUrl);
        unanswered.delete(typeUrl);
        if (response) session.receive(ack(response));
      };
      for (const typeUrl of [ADDRESS_TYPE, AUTHORIZATION_TYPE]) session.receive(request({ typeUrl }));
      send();
      for (const [edit, name] of steps.entries()) {
        if (name === 'send') send();
        else if (name === 'answer-policies') answer(AUTHORIZATION_TYPE);
        else if (name === 'answer-addresses') answer(ADDRESS_TYPE);
        else {
          const isListed = name === 'list';
          store.set(ADDRESS_TYPE, { name: 'server', bytes: Buffer.from(`${edit} ${isListed ? 'listed' : 'plain'}`) });
          if (isListed) store.set(AUTHORIZATION_TYPE, { name: 'p', bytes: Buffer.from(String(edit)) });
          else store.delete(AUTHORIZATION_TYPE, 'p');
          store.commit();
        }
      }
      // nothing is held for ever
      const isListed = store.find(AUTHORIZATION_TYPE, 'p') !== undefined;
      for (let turn = 0; turn < 6; turn++) {
        send();
        answer(AUTHORIZATION_TYPE);
        answer(ADDRESS_TYPE);
      }
      t.deepEqual([known, listed], [isListed, isListed]);
    }),
  );
});
