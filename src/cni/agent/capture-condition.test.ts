import test from 'ava';
import { CAPTURE_CONDITION, conditionPatch } from './capture-condition.ts';
import type { Pod } from './pod.ts';

const NOW = '2026-01-01T00:00:00Z';
const EXCLUSIONS = { outboundPorts: [], outboundRanges: [], inboundPorts: [9090] };

function pod(conditions?: NonNullable<Pod['status']>['conditions']): Pod {
  const metadata = { name: 'a', namespace: 'b' };
  return { apiVersion: 'v1', kind: 'Pod', metadata, status: conditions ? { conditions } : {} };
}

function written(given: Pod): NonNullable<NonNullable<Pod['status']>['conditions']>[number] {
  const patch = conditionPatch(given, EXCLUSIONS, NOW) as { conditions: [never] } | undefined;
  return patch?.conditions[0] as never;
}

test('an exclusion is told once', (t) => {
  const condition = written(pod());
  t.like(condition, { type: CAPTURE_CONDITION, status: 'False', reason: 'Excluded', lastTransitionTime: NOW });
  t.is(conditionPatch(pod([condition]), EXCLUSIONS, 'later'), undefined);
});

test('a changed exclusion is told anew, and keeps its time', (t) => {
  const old = { type: CAPTURE_CONDITION, status: 'False', message: 'another', lastTransitionTime: 'then' };
  t.is(written(pod([old])).lastTransitionTime, 'then');
});

test('without exclusions there is no condition', (t) => {
  t.is(conditionPatch(pod(), undefined, NOW), undefined);
  t.is(conditionPatch(pod([{ type: 'Ready', status: 'True' }]), undefined, NOW), undefined);
  const old = { type: CAPTURE_CONDITION, status: 'False' };
  t.deepEqual(conditionPatch(pod([old]), undefined, NOW), { conditions: [] });
});
