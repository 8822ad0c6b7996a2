import test from 'ava';
import type { ConditionValue, StatusPatch } from '../ir.ts';
import { diffStatus } from './status-diff.ts';

const accepted: ConditionValue = { type: 'Accepted', status: 'True', reason: 'Fine', message: 'all good' };
const NOW = '2026-01-01T00:00:00.000Z';
const EARLIER = '2025-01-01T00:00:00.000Z';

function patchFor(group: string, conditions: readonly ConditionValue[], fields?: Record<string, unknown>): StatusPatch {
  const base = { kind: { group, kind: 'Thing' }, key: { namespace: 'a', name: 'b' }, conditions };
  return fields ? { ...base, fields } : base;
}

function objectWith(status: unknown, generation = 1) {
  return { apiVersion: 'x/v1', kind: 'Thing', metadata: { name: 'b', namespace: 'a', generation }, status };
}

const diff = (object: ReturnType<typeof objectWith>, patch: StatusPatch, owned: readonly string[] = []) =>
  diffStatus(object, patch, { owned: new Set(owned), now: NOW });

test('a missing condition is written, with the generation as text for the kinds of Istio', (t) => {
  const written = diff(objectWith(undefined), patchFor('security.istio.io', [accepted]));
  t.deepEqual(written, { conditions: [{ ...accepted, lastTransitionTime: NOW, observedGeneration: '1' }] });
});

test('the Gateway API gets a number, core kinds none', (t) => {
  t.like(diff(objectWith({}), patchFor('gateway.networking.k8s.io', [accepted])), {
    conditions: [{ ...accepted, lastTransitionTime: NOW, observedGeneration: 1 }],
  });
  t.deepEqual(diff(objectWith({}), patchFor('', [accepted])), {
    conditions: [{ ...accepted, lastTransitionTime: NOW }],
  });
});

test('what is there already is not written again', (t) => {
  const there = { conditions: [{ ...accepted, lastTransitionTime: EARLIER, observedGeneration: '1' }] };
  t.is(diff(objectWith(there), patchFor('security.istio.io', [accepted])), undefined);
});

test('a new message keeps the time of transition, a new status renews it', (t) => {
  const there = objectWith({ conditions: [{ ...accepted, lastTransitionTime: EARLIER, observedGeneration: '1' }] });
  const reworded = diff(there, patchFor('security.istio.io', [{ ...accepted, message: 'better' }]));
  t.like(reworded, { conditions: [{ lastTransitionTime: EARLIER, message: 'better' }] });
  const failed = diff(there, patchFor('security.istio.io', [{ ...accepted, status: 'False' }]));
  t.like(failed, { conditions: [{ lastTransitionTime: NOW, status: 'False' }] });
});

test('a newer generation is noted', (t) => {
  const there = objectWith({ conditions: [{ ...accepted, lastTransitionTime: EARLIER, observedGeneration: '1' }] }, 2);
  t.like(diff(there, patchFor('security.istio.io', [accepted])), { conditions: [{ observedGeneration: '2' }] });
});

test('a condition that no longer holds goes, those of others are not touched', (t) => {
  const there = objectWith({ conditions: [accepted, { ...accepted, type: 'Foreign' }] });
  t.deepEqual(diff(there, patchFor('', []), ['Accepted']), { conditions: [] });
  t.is(diff(there, patchFor('', [])), undefined);
});

test('fields are compared by what they say; defaults that were added do not matter', (t) => {
  const parents = [{ parentRef: { name: 'x' }, controllerName: 'c' }];
  const there = objectWith({ parents: [{ parentRef: { name: 'x', group: 'added' }, controllerName: 'c' }] });
  t.is(diff(there, patchFor('', [], { parents })), undefined);
  t.deepEqual(diff(objectWith({}), patchFor('', [], { parents })), { parents });
});
