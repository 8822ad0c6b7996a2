import test from 'ava';
import { silentLogger } from '../../core/logger.ts';
import type { ReviewedToken } from '../../kube/index.ts';
import { TokenReviews, tokenOwner } from './token-reviews.ts';

const GOOD: ReviewedToken = {
  authenticated: true,
  username: 'system:serviceaccount:istio-system:ztunnel',
  groups: ['system:serviceaccounts', 'system:authenticated'],
  audiences: ['istio-ca'],
  extra: {
    'authentication.kubernetes.io/pod-name': ['ztunnel-1'],
    'authentication.kubernetes.io/pod-uid': ['u1'],
  },
};
const OWNER = { namespace: 'istio-system', serviceAccount: 'ztunnel', podName: 'ztunnel-1', podUid: 'u1' };

const proves = test.macro((t, change: Partial<ReviewedToken>, owner: object | undefined) => {
  t.deepEqual<unknown, unknown>(tokenOwner({ ...GOOD, ...change }, ['istio-ca']), owner);
});
test('a bound token proves account and pod', proves, {}, OWNER);
test(
  'a token without a pod proves the account',
  proves,
  { extra: {} },
  { ...OWNER, podName: undefined, podUid: undefined },
);
test('an unauthenticated one proves nothing', proves, { authenticated: false }, undefined);
test('another audience proves nothing', proves, { audiences: ['https://kubernetes.default.svc'] }, undefined);
test('no audience proves nothing', proves, { audiences: [] }, undefined);
test('a person is not an account', proves, { username: 'admin' }, undefined);
test('a person named like an account is none', proves, { groups: ['system:authenticated'] }, undefined);

function makeReviews(review: () => Promise<ReviewedToken>) {
  let calls = 0;
  const reviews = new TokenReviews({
    ...{ audiences: ['istio-ca'], trustDomain: 'cluster.local', clusterId: 'Kubernetes', log: silentLogger },
    review: () => {
      calls += 1;
      return review();
    },
  });
  return { reviews, calls: () => calls };
}

test('one token is reviewed once for many calls, and remembered', async (t) => {
  const { reviews, calls } = makeReviews(async () => GOOD);
  const call = () => reviews.authenticate({ token: 'x', clusterId: '' });
  await Promise.all([call(), call(), call()]);
  t.deepEqual<unknown, unknown>(await call(), { ...OWNER, trustDomain: 'cluster.local', clusterId: 'Kubernetes' });
  t.is(calls(), 1);
});

test('without a verdict nobody is authenticated, and the next call asks again', async (t) => {
  const { reviews, calls } = makeReviews(() => Promise.reject(new Error('busy')));
  t.is(await reviews.authenticate({ token: 'x', clusterId: '' }), undefined);
  t.is(await reviews.authenticate({ token: 'x', clusterId: '' }), undefined);
  t.is(calls(), 2);
});

test('no token, a huge one and another cluster are not even reviewed', async (t) => {
  const { reviews, calls } = makeReviews(async () => GOOD);
  t.is(await reviews.authenticate({ token: undefined, clusterId: '' }), undefined);
  t.is(await reviews.authenticate({ token: 'x'.repeat(20_000), clusterId: '' }), undefined);
  t.is(await reviews.authenticate({ token: 'x', clusterId: 'other' }), undefined);
  t.is(calls(), 0);
});
