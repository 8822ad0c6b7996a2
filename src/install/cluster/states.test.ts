import test from 'ava';
import type { ApiObject } from './cluster.ts';
import { podProblems } from './diagnosis.ts';
import { rolloutOf } from './rollout.ts';

const daemonSet = (status: object, generation = 2): ApiObject => ({
  ...{ apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'x', generation }, status },
});
const deployment = (status: object, replicas = 2): ApiObject => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'x', generation: 1 }, spec: { replicas }, status },
});
const isReady = test.macro((t, object: ApiObject, ready: boolean) => t.is(rolloutOf(object).ready, ready));
const all = { observedGeneration: 2, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 };
const two = { observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };

test('a DaemonSet is ready when every pod is of its version and available', isReady, daemonSet(all), true);
test('not while its controller has not seen it', isReady, daemonSet({}), false);
test('not while the status is of an earlier version', isReady, daemonSet(all, 3), false);
test('not while an old pod is left', isReady, daemonSet({ ...all, updatedNumberScheduled: 1 }), false);
test('not while a pod is not available', isReady, daemonSet({ ...all, numberAvailable: 1 }), false);
test('ready without nodes', isReady, daemonSet({ observedGeneration: 2, desiredNumberScheduled: 0 }), true);
test('a Deployment is ready when only pods of its version are left', isReady, deployment(two), true);
test('not while it has one too many', isReady, deployment({ ...two, replicas: 3 }), false);
test('not while one is missing', isReady, deployment({ ...two, availableReplicas: 1 }), false);

const pod = (status: object, metadata: object = {}): ApiObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', ...metadata }, spec: { nodeName: 'node1' }, status },
});
const container = (state: object, more: object = {}) => pod({ containerStatuses: [{ name: 'c', state, ...more }] });
const says = test.macro((t, object: ApiObject, events: readonly object[], expected: RegExp | undefined) => {
  const [problem] = podProblems(object, events as readonly ApiObject[]);
  if (expected === undefined) t.is(problem, undefined);
  else t.regex(problem?.text ?? 'nothing', expected);
});

test(
  'a pod that is ready has no problem',
  says,
  pod({ conditions: [{ type: 'Ready', status: 'True' }] }),
  [],
  undefined,
);
test('one that is starting neither', says, container({ waiting: { reason: 'ContainerCreating' } }), [], undefined);
test(
  'one that goes neither',
  says,
  pod({}, { deletionTimestamp: 'now' }),
  [{ type: 'Warning', reason: 'Killing' }],
  undefined,
);
test(
  'an image that cannot be pulled comes with what to look at',
  says,
  container({ waiting: { reason: 'ImagePullBackOff', message: 'no such host' } }),
  [],
  /no such host \(is the image in the registry/,
);
test(
  'a crash names its exit status',
  says,
  container(
    { waiting: { reason: 'CrashLoopBackOff' } },
    { restartCount: 2, lastState: { terminated: { exitCode: 1, reason: 'Error' } } },
  ),
  [],
  /^c crashes \(Error with 1, 2 restarts\)/,
);
test(
  'a pod that no node takes says why',
  says,
  pod({ conditions: [{ type: 'PodScheduled', status: 'False', message: '0/2 nodes are available' }] }),
  [],
  /^cannot be placed: 0\/2 nodes/,
);
test(
  'otherwise the last warning of its events is told',
  says,
  container({ waiting: { reason: 'ContainerCreating' } }),
  [{ type: 'Normal' }, { type: 'Warning', reason: 'FailedMount', message: 'no ConfigMap' }],
  /^FailedMount: no ConfigMap/,
);
