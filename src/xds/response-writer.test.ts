import test from 'ava';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { DeltaSession } from './delta-session.ts';
import { type DeltaRequest, decodeDeltaResponse } from './message-codec.ts';
import { ResourceStore } from './resource-store.ts';
import { ResponseWriter } from './response-writer.ts';
import { TransferBudget } from './transfer-budget.ts';
import { ADDRESS_TYPE } from './type-url.ts';

const LARGE = 20 * 1024 * 1024;

async function setUp() {
  const store = await ResourceStore.create();
  store.set(ADDRESS_TYPE, { name: 'large', bytes: new Uint8Array(LARGE) });
  store.commit();
  const budget = new TransferBudget(new ManualClock());
  let nonces = 0;
  const join = () => {
    const sent: Buffer[] = [];
    const node = { id: 'z', podName: 'z', namespace: 'n', nodeName: '' };
    const newNonce = () => {
      nonces += 1;
      return `nonce-${nonces}`;
    };
    const session = new DeltaSession(store, node, { newNonce, onPending: () => writer.push() });
    const writer = new ResponseWriter({
      transport: { writable: true, write: (bytes) => sent.push(bytes) > 0 },
      ...{ session, budget, onPush: () => {}, onFailure: (reason) => sent.push(Buffer.from(reason)) },
    });
    const ask = (responseNonce = '') => {
      const request: DeltaRequest = {
        ...{ typeUrl: ADDRESS_TYPE, subscribe: [], unsubscribe: [], initialVersions: new Map(), responseNonce },
      };
      session.receive(request);
      if (responseNonce !== '') writer.answered();
      writer.push();
    };
    return { sent, writer, ask, answer: () => ask(decodeDeltaResponse(sent.at(-1) ?? Buffer.of()).nonce) };
  };
  return { store, join };
}

test('a second snapshot waits until the first has been answered; small updates never wait', async (t) => {
  const { store, join } = await setUp();
  const [one, other] = [join(), join()];
  one.ask();
  other.ask();
  t.deepEqual([one.sent.length, other.sent.length], [1, 0]);
  one.answer();
  t.is(other.sent.length, 1);
  store.set(ADDRESS_TYPE, { name: 'small', bytes: new Uint8Array(1) });
  store.commit();
  t.is(one.sent.length, 2);
  t.deepEqual(
    decodeDeltaResponse(one.sent[1] ?? Buffer.of()).resources.map(({ name }) => name),
    ['small'],
  );
});

test('who leaves while waiting, or while holding a permit, holds up nobody', async (t) => {
  const { join } = await setUp();
  const [holding, waiting, next] = [join(), join(), join()];
  for (const each of [holding, waiting, next]) each.ask();
  waiting.writer[Symbol.dispose]();
  holding.writer[Symbol.dispose]();
  t.deepEqual([holding.sent.length, waiting.sent.length, next.sent.length], [1, 0, 1]);
});
