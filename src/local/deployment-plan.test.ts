import test from 'ava';
import { chooseNode, isOwnedBy, planDeployment, podOf, serviceAddresses } from './deployment-plan.ts';
import type { Deployment, Pod, Service } from './kinds.ts';

function deployment({ replicas = 2, version = 'v1', name = 'web' } = {}): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'shop', uid: 'd' },
    spec: { replicas, template: { metadata: { labels: { version } }, spec: { containers: [{ name: 'c' }] } } },
  };
}

function made(of: Deployment, suffix: string, ready = true): Pod {
  const pod = podOf(of, suffix, suffix);
  return { ...pod, status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] } };
}

const names = (pods: readonly Pod[]) => pods.map(({ metadata }) => metadata.uid);

test('missing pods are made', (t) => {
  t.deepEqual(planDeployment(deployment(), []), { create: 2, remove: [] });
  t.deepEqual(planDeployment(deployment(), [made(deployment(), 'a')]), { create: 1, remove: [] });
});

test('surplus pods end, those that are not ready first', (t) => {
  const pods = [made(deployment(), 'a'), made(deployment(), 'b', false), made(deployment(), 'c')];
  t.deepEqual(names(planDeployment(deployment(), pods).remove), ['b']);
});

test('old pods stay until the new ones are ready', (t) => {
  const old = [made(deployment(), 'a'), made(deployment(), 'b')];
  const next = deployment({ version: 'v2' });
  t.deepEqual(planDeployment(next, old), { create: 2, remove: [] });
  const half = [...old, made(next, 'c'), made(next, 'd', false)];
  t.deepEqual(planDeployment(next, half), { create: 0, remove: [] });
  const whole = [...old, made(next, 'c'), made(next, 'd')];
  t.deepEqual(names(planDeployment(next, whole).remove), ['a', 'b']);
});

test('a pod belongs to its deployment only', (t) => {
  const pod = made(deployment(), 'a');
  t.true(isOwnedBy(pod, deployment()));
  t.true(isOwnedBy(pod, deployment({ version: 'v2' })), 'of an older template too');
  t.false(isOwnedBy(pod, deployment({ name: 'we' })));
});

test('pods of one deployment spread over the nodes, a selector binds', (t) => {
  const pod = podOf(deployment(), 'x', 'x');
  const first = { ...pod, spec: { ...pod.spec, nodeName: 'node1' } };
  t.is(chooseNode(pod, ['node1', 'node2'], []), 'node1');
  t.is(chooseNode(pod, ['node1', 'node2'], [first]), 'node2');
  const bound = { ...pod, spec: { ...pod.spec, nodeSelector: { 'kubernetes.io/hostname': 'node1' } } };
  t.is(chooseNode(bound, ['node1', 'node2'], [first]), 'node1');
  t.is(chooseNode(bound, ['node2'], []), undefined);
});

test('services get the first free pair of addresses, once', (t) => {
  const service = (spec: object): Service => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec });
  const taken = service({ clusterIP: '10.96.0.20' });
  t.deepEqual(serviceAddresses(service({}), []), ['10.96.0.20', 'fd00:10:96::14']);
  t.deepEqual(serviceAddresses(service({}), [taken]), ['10.96.0.21', 'fd00:10:96::15']);
  t.is(serviceAddresses(taken, [taken]), undefined);
  t.is(serviceAddresses(service({ clusterIP: 'None' }), []), undefined);
});
