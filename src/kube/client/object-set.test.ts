import test from 'ava';
import type { KubeObject } from '../port.ts';
import { ObjectSet } from './object-set.ts';

const object = (name: string, resourceVersion: string, extra: object = {}): KubeObject => ({
  apiVersion: 'example.com/v1',
  kind: 'Thing',
  metadata: { name, namespace: 'shop', uid: `${name}-uid`, resourceVersion, ...extra },
});

function makeSet() {
  const heard: string[] = [];
  const refused: string[] = [];
  const set = new ObjectSet({
    check: ({ metadata }) => (metadata.labels?.bad ? [{ path: ['metadata'], reason: 'bad' }] : []),
    onChecked: ({ name }, reason) => refused.push(`${name}: ${reason ?? 'fine'}`),
    onListenerError: (reason) => refused.push(reason),
  });
  return { set, heard, refused, subscription: set.subscribe(({ name }) => heard.push(name)) };
}

test('a new listing tells what came, changed and went, and nothing else', (t) => {
  const { set, heard } = makeSet();
  set.replace([object('same', '1'), object('changed', '1'), object('gone', '1')]);
  heard.length = 0;
  set.replace([object('same', '1'), object('changed', '2', { labels: { app: 'x' } }), object('new', '3')]);
  t.deepEqual(heard.sort(), ['changed', 'gone', 'new']);
  t.deepEqual(set.list('shop').length, 3);
  t.deepEqual(set.list('other'), []);
});

test('a change of what nobody reads is no news', (t) => {
  const { set, heard } = makeSet();
  set.set(object('one', '1'));
  set.set(object('one', '2', { managedFields: [{}] } as object));
  t.deepEqual(heard, ['one']);
});

test('a version already known is no news', (t) => {
  const { set, heard } = makeSet();
  set.set(object('one', '1'));
  set.set(object('one', '1'));
  t.deepEqual(heard, ['one']);
});

test('a refused object keeps its last good version until it is mended or gone', (t) => {
  const { set, refused } = makeSet();
  const bad = { labels: { bad: 'yes' } };
  set.set(object('one', '1'));
  set.set(object('one', '2', bad));
  t.is(set.get({ namespace: 'shop', name: 'one' })?.metadata.resourceVersion, '1');
  set.set(object('one', '3'));
  set.set(object('one', '4', bad));
  set.delete(object('one', '5').metadata);
  t.is(set.list().length, 0);
  t.deepEqual(refused, ['one: metadata: bad', 'one: fine', 'one: metadata: bad', 'one: fine']);
});

test('a refused object under the name of another does not live on as that one', (t) => {
  const { set, heard } = makeSet();
  set.set(object('one', '1'));
  set.set(object('one', '2', { uid: 'other', labels: { bad: 'yes' } }));
  t.is(set.get({ namespace: 'shop', name: 'one' }), undefined);
  t.deepEqual(heard, ['one', 'one']);
});

test('a listener that throws does not silence the others, a disposed one hears nothing', (t) => {
  const { set, heard, refused, subscription } = makeSet();
  set.subscribe(() => {
    throw new Error('oops');
  });
  const late: string[] = [];
  set.subscribe(({ name }) => late.push(name));
  subscription[Symbol.dispose]();
  set.set(object('one', '1'));
  t.deepEqual([heard, late, refused], [[], ['one'], ['oops']]);
});

test('a refused object that was never good is known as refused, until it is mended or gone', (t) => {
  const { set, heard } = makeSet();
  const bad = object('one', '1', { labels: { bad: 'yes' } });
  const names = () => set.refused().map(({ object: { metadata }, reason }) => `${metadata.name}: ${reason}`);
  set.set(bad);
  set.set(bad);
  t.deepEqual([names(), heard, set.list()], [['one: metadata: bad'], ['one'], []]);
  set.set(object('one', '2'));
  t.deepEqual(names(), []);
  set.set(object('one', '3', { labels: { bad: 'yes' } }));
  t.deepEqual(names(), [], 'its last good version stays in force');
  set.set(object('two', '1', { labels: { bad: 'yes' } }));
  set.replace([]);
  t.deepEqual([names(), set.list()], [[], []]);
  t.is(heard.at(-1), 'two');
});
