import test from 'ava';
import type { Authorization } from '../../model/authorization.ts';
import type { Workload } from '../../model/workload.ts';
import { AUTHORIZATION_TYPE, type SubscriberStatus } from '../../xds/index.ts';
import { withDefaults } from '../translate/workload-parts.ts';
import { Distribution, parseReport, reportOf } from './distribution.ts';
import { PolicyNeeds } from './policy-needs.ts';

const KEY = 'shop/deny';
const subscriber = (nodeName: string, ackedGeneration: number, lastNack?: string): SubscriberStatus => ({
  node: { id: nodeName, podName: nodeName, namespace: 'istio-system', nodeName } as SubscriberStatus['node'],
  connectedAtMs: 0,
  types: [
    {
      ...{ typeUrl: AUTHORIZATION_TYPE, sentGeneration: 9, ackedGeneration, lastNack, pendingNames: 0 },
      syncedGeneration: undefined,
    },
  ],
});
const report = (digest: string, ...subscribers: readonly SubscriberStatus[]) =>
  reportOf({ digests: { [KEY]: digest }, changedAt: new Map([[KEY, 5]]) }, subscribers);

test('nodes that run it are counted over all replicas, and only those that need it', (t) => {
  const own = report('new', subscriber('a', 5), subscriber('b', 4));
  const other = report('new', subscriber('c', 7));
  const needed = new Set(['a', 'b', 'c']);
  t.like(new Distribution([own, other]).conditionOf(KEY, needed), {
    status: 'False',
    reason: 'Pending',
    message: 'acknowledged by 2 of 3 nodes that need it',
  });
  t.like(new Distribution([own, other]).conditionOf(KEY, new Set(['a', 'c'])), {
    status: 'True',
    reason: 'Acknowledged',
  });
  t.like(new Distribution([own]).conditionOf(KEY, new Set()), { status: 'True', message: 'no node needs it' });
});

test('what another replica serves in an older form does not count, nor does a node that is nowhere', (t) => {
  const own = report('new', subscriber('a', 5));
  const other = report('old', subscriber('c', 7));
  t.like(new Distribution([own, other]).conditionOf(KEY, new Set(['a', 'c', 'gone'])), {
    status: 'False',
    message: 'acknowledged by 1 of 3 nodes that need it',
  });
});

test('a node that refuses is named', (t) => {
  const own = report('new', subscriber('a', 5, 'cannot parse'), subscriber('b', 5));
  const condition = new Distribution([own]).conditionOf(KEY, new Set(['a', 'b']));
  t.like(condition, {
    status: 'False',
    reason: 'Refused',
    message: 'acknowledged by 1 of 2 nodes that need it; refused by a',
  });
});

test('a report survives the wire, and what is none is refused', (t) => {
  const own = report('new', subscriber('a', 5));
  t.deepEqual(parseReport(JSON.parse(JSON.stringify(own))), own);
  for (const bad of [null, 1, {}, { digests: {}, nodes: [null] }, { digests: {}, nodes: [{ node: 1 }] }])
    t.is(parseReport(bad), undefined);
});

test('a policy is needed where a workload of the mesh is in its scope', (t) => {
  const workload = (name: string, node: string, rest: Partial<Workload>): Workload =>
    withDefaults({
      uid: name,
      name,
      namespace: 'shop',
      clusterId: '',
      trustDomain: '',
      node,
      tunnelProtocol: 'HBONE',
      ...rest,
    });
  const needs = new PolicyNeeds();
  needs.update({
    workloadGroups: new Map([
      ['one', [workload('a', 'n1', { authorizationPolicies: [KEY] }), workload('b', 'n2', { namespace: 'other' })]],
      ['two', [workload('c', 'n3', {}), workload('plain', 'n4', { tunnelProtocol: 'NONE' })]],
    ]),
    ...{ services: [], policies: [], gateways: [] },
  });
  const policy = (scope: Authorization['scope']): Authorization => ({
    name: 'deny',
    namespace: 'shop',
    scope,
    action: 'DENY',
    rules: [],
    dryRun: false,
  });
  const nodes = (scope: Authorization['scope']) => [...needs.nodesFor(policy(scope))].sort();
  t.deepEqual(nodes('GLOBAL'), ['n1', 'n2', 'n3']);
  t.deepEqual(nodes('NAMESPACE'), ['n1', 'n3']);
  t.deepEqual(nodes('WORKLOAD_SELECTOR'), ['n1']);
});
