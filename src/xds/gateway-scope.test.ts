import test from 'ava';
import { DeltaSession } from './delta-session.ts';
import { type DeltaRequest, decodeDeltaResponse, encodeDeltaResponse } from './message-codec.ts';
import { checkNode, waypointNodeId } from './node-check.ts';
import { ResourceStore } from './resource-store.ts';
import { ADDRESS_TYPE } from './type-url.ts';
import { BOUND_SERVICE_TYPE, CLUSTER_TYPE } from './waypoint-types.ts';

const NODE = { id: 'w', podName: 'wp-1', namespace: 'shop', nodeName: '' };

async function setUp(gateway?: string) {
  const store = await ResourceStore.create();
  let nonces = 0;
  const newNonce = () => {
    nonces += 1;
    return `n${nonces}`;
  };
  const node = gateway === undefined ? NODE : { ...NODE, gateway };
  const session = new DeltaSession(store, node, { newNonce, onPending: () => undefined });
  const put = (name: string, typeUrl: string = BOUND_SERVICE_TYPE): void => {
    store.set(typeUrl, { name, bytes: Buffer.from(name) });
    store.commit();
  };
  const next = () => {
    const response = session.next();
    return response && decodeDeltaResponse(encodeDeltaResponse(response));
  };
  return { store, session, put, next };
}
const request = (parts: Partial<DeltaRequest> = {}): DeltaRequest => ({
  typeUrl: BOUND_SERVICE_TYPE,
  subscribe: [],
  unsubscribe: [],
  initialVersions: new Map(),
  responseNonce: '',
  ...parts,
});

test('a replica gets what is its gateway’s and nothing else', async (t) => {
  const { session, put, next } = await setUp('shop/wp');
  put('shop/wp/shop/a');
  put('shop/wp2/shop/b');
  put('other/wp/shop/c');
  session.receive(request());
  const first = next();
  t.deepEqual(
    first?.resources.map(({ name }) => name),
    ['shop/wp/shop/a'],
  );
  session.receive(request({ responseNonce: first?.nonce ?? '' }));
  put('other/wp/shop/d');
  t.is(next(), undefined);
  put('shop/wp/shop/e');
  t.deepEqual(
    next()?.resources.map(({ name }) => name),
    ['shop/wp/shop/e'],
  );
});

const asksForOthers = test.macro(async (t, parts: Partial<DeltaRequest>) => {
  const { session, put, next } = await setUp('shop/wp');
  put('other/wp/shop/c');
  session.receive(request(parts));
  const answer = next();
  t.deepEqual(answer?.resources, []);
  t.deepEqual(answer?.removed, []);
});
test('asking by name opens nothing', asksForOthers, { subscribe: ['other/wp/shop/c'] });
test('claiming to have it opens nothing', asksForOthers, { initialVersions: new Map([['other/wp/shop/c', '1']]) });

test('a node tunnel gets no configuration of gateways', async (t) => {
  const { session, put, next } = await setUp();
  put('shop/wp/shop/a');
  session.receive(request());
  t.deepEqual(next()?.resources, []);
});

test('what a replica had and is gone is removed on reconnect, what it has is not sent again', async (t) => {
  const { store, session, put, next } = await setUp('shop/wp');
  put('shop/wp/shop/a');
  const { version } = store.find(BOUND_SERVICE_TYPE, 'shop/wp/shop/a') ?? { version: '' };
  session.receive(
    request({
      initialVersions: new Map([
        ['shop/wp/shop/a', version],
        ['shop/wp/shop/gone', '1'],
      ]),
    }),
  );
  t.like(next(), { resources: [], removed: ['shop/wp/shop/gone'] });
});

test('clusters come before the services that refer to them', async (t) => {
  const { session, put, next } = await setUp('shop/wp');
  put('shop/wp/shop/a');
  put('shop/wp/shop/a', CLUSTER_TYPE);
  session.receive(request());
  session.receive(request({ typeUrl: CLUSTER_TYPE }));
  session.receive(request({ typeUrl: ADDRESS_TYPE }));
  t.deepEqual(
    [next(), next(), next()].map((response) => response?.typeUrl),
    [ADDRESS_TYPE, CLUSTER_TYPE, BOUND_SERVICE_TYPE],
  );
});

test('the node of a waypoint says of which gateway it is', (t) => {
  const id = waypointNodeId({ ip: '10.0.0.1', pod: 'wp-1', namespace: 'shop' });
  const caller = { namespace: 'shop', serviceAccount: 'wp' };
  t.like(checkNode({ id, metadata: { GATEWAY_NAME: 'wp' } }, caller), { ok: true, node: { gateway: 'shop/wp' } });
  t.like(checkNode({ id, metadata: {} }, caller), { ok: false, kind: 'invalid' });
});
