import test from 'ava';
import type { Pod } from './kinds.ts';
import { type ContainerFacts, podStatus } from './pod-status.ts';

const POD: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { containers: [{ name: 'c' }] } };
const RUNNING: ContainerFacts = { name: 'c', running: true, ready: true, restarts: 0 };

function status(
  facts: { ips?: readonly string[]; containers?: readonly ContainerFacts[]; waiting?: string },
  pod = POD,
) {
  return podStatus(pod, { hostIp: '172.30.0.11', ips: [], containers: [], ...facts }, '2026-01-01T00:00:00Z');
}

const ready = (of: ReturnType<typeof status>) => of.conditions?.find(({ type }) => type === 'Ready')?.status;

test('without a sandbox a pod is pending and says why', (t) => {
  const { phase, podIP, conditions } = status({ waiting: 'no plugin' });
  t.is(phase, 'Pending');
  t.is(podIP, undefined);
  t.is(conditions?.find(({ type }) => type === 'PodReadyToStartContainers')?.message, 'no plugin');
});

test('a pod is ready when all its containers are', (t) => {
  const ips = ['10.244.1.2', 'fd00::2'];
  t.is(ready(status({ ips, containers: [RUNNING] })), 'True');
  t.is(ready(status({ ips, containers: [{ ...RUNNING, ready: false }] })), 'False');
  t.is(ready(status({ ips })), 'False');
  t.deepEqual(status({ ips, containers: [RUNNING] }).podIPs, [{ ip: '10.244.1.2' }, { ip: 'fd00::2' }]);
});

test('an ended container decides the phase by the restart policy', (t) => {
  const ended = { ...RUNNING, running: false, ready: false, exitCode: 0 };
  const never: Pod = { ...POD, spec: { ...POD.spec, restartPolicy: 'Never' } };
  t.is(status({ ips: ['10.244.1.2'], containers: [ended] }).phase, 'Running');
  t.is(status({ ips: ['10.244.1.2'], containers: [ended] }, never).phase, 'Succeeded');
  t.is(status({ ips: ['10.244.1.2'], containers: [{ ...ended, exitCode: 1 }] }, never).phase, 'Failed');
});

test('the time of a condition changes with it only', (t) => {
  const before = status({ ips: ['10.244.1.2'], containers: [RUNNING] });
  const pod: Pod = { ...POD, status: before };
  const facts = { hostIp: '172.30.0.11', ips: ['10.244.1.2'], containers: [{ ...RUNNING, ready: false }] };
  const after = podStatus(pod, facts, '2026-01-01T00:01:00Z');
  const since = (type: string) => after.conditions?.find((condition) => condition.type === type)?.lastTransitionTime;
  t.is(since('Ready'), '2026-01-01T00:01:00Z');
  t.is(since('Initialized'), '2026-01-01T00:00:00Z');
});
