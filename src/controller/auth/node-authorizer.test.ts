import test from 'ava';
import type { Pod } from '../resources.ts';
import { podNodeAuthorizer } from './node-authorizer.ts';

function pod(namespace: string, name: string, rest: { node?: string; account?: string; phase?: string } = {}): Pod {
  const { node = 'a', account = name, phase = 'Running' } = rest;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid: `${name}-uid` },
    spec: { nodeName: node, serviceAccountName: account },
    status: { phase },
  };
}

const pods = [
  pod('istio-system', 'ztunnel'),
  pod('shop', 'front'),
  pod('shop', 'starting', { phase: 'Pending' }),
  pod('shop', 'failed', { phase: 'Failed' }),
  pod('shop', 'cart', { node: 'b' }),
  pod('other', 'unscheduled', { node: '' }),
];
const authorizer = podNodeAuthorizer(
  {
    get: ({ namespace, name }) =>
      pods.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
    list: (namespace) => pods.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace),
  },
  'cluster.local',
);
const tunnel = {
  trustDomain: 'cluster.local',
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  podName: 'ztunnel',
  podUid: 'ztunnel-uid',
  clusterId: 'Kubernetes',
};

const decides = test.macro(
  async (t, caller: Partial<typeof tunnel> | { podName: undefined }, requested: string, allowed: boolean) => {
    const [namespace = '', serviceAccount = '', trustDomain = 'cluster.local'] = requested.split('/');
    const identity = { trustDomain, namespace, serviceAccount };
    t.is(await authorizer.mayImpersonate({ ...tunnel, ...caller }, identity), allowed);
  },
);
test('an account of a pod on the same node may be had', decides, {}, 'shop/front', true);
test('a pending pod counts', decides, {}, 'shop/starting', true);
test('a failed pod does not count', decides, {}, 'shop/failed', false);
test('a pod of another node does not count', decides, {}, 'shop/cart', false);
test('an account without a pod may not be had', decides, {}, 'shop/nobody', false);
test('the account of the same name in another namespace may not be had', decides, {}, 'other/front', false);
test('an identity of another trust domain may not be had', decides, {}, 'shop/front/other.domain', false);
test('a token that is bound to no pod proves no node', decides, { podName: undefined }, 'shop/front', false);
test('a token of a pod that is gone proves nothing', decides, { podName: 'gone' }, 'shop/front', false);
test('a token of an earlier pod of that name proves nothing', decides, { podUid: 'earlier' }, 'shop/front', false);
test('the pod must run under the account of the token', decides, { serviceAccount: 'other' }, 'shop/front', false);
