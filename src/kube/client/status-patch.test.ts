import test from 'ava';
import type { KubeObject } from '../port.ts';
import { conditionTypes, statusPatch } from './status-patch.ts';

const ready = { type: 'Ready', status: 'True' };
const meshed = { type: 'Meshed', status: 'True' };
const object = (status?: object) =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one', resourceVersion: '7' }, status }) as KubeObject;
const nothing: ReadonlySet<string> = new Set();

test('conditions of others stay, in a patch that holds for the version read', (t) => {
  t.deepEqual(statusPatch(object({ conditions: [ready] }), { conditions: [meshed] }, nothing), {
    metadata: { resourceVersion: '7' },
    status: { conditions: [ready, meshed] },
  });
});

test('an own condition is replaced, and goes when it is left out', (t) => {
  const before = object({ conditions: [ready, meshed] });
  const changed = { ...meshed, status: 'False' };
  const own = new Set(['Meshed']);
  t.like(statusPatch(before, { conditions: [changed] }, own), { status: { conditions: [ready, changed] } });
  t.like(statusPatch(before, { conditions: [] }, own), { status: { conditions: [ready] } });
});

test('what is there already is not written', (t) => {
  const before = object({ phase: 'Running', conditions: [ready] });
  t.is(statusPatch(before, { phase: 'Running' }, nothing), undefined);
  t.is(statusPatch(before, { conditions: [ready] }, nothing), undefined);
  t.is(statusPatch(object(), {}, nothing), undefined);
});

test('fields without conditions need no version; null removes', (t) => {
  t.deepEqual(statusPatch(object(), { phase: 'Running' }, nothing), { status: { phase: 'Running' } });
  t.deepEqual(statusPatch(object({ phase: 'Running' }), { phase: null }, nothing), { status: { phase: null } });
  t.is(statusPatch(object(), { phase: null }, nothing), undefined);
});

test('types are those that are text', (t) => {
  t.deepEqual(conditionTypes({ conditions: [ready, {}, { type: 1 }, meshed] }), ['Ready', 'Meshed']);
  t.deepEqual(conditionTypes({}), []);
});
