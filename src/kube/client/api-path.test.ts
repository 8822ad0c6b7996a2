import test from 'ava';
import { apiVersionOf, collectionPath, fieldSelector, objectPath } from './api-path.ts';

const POD = { group: '', kind: 'Pod' };
const POLICY = { group: 'security.istio.io', kind: 'AuthorizationPolicy' };
const key = { namespace: 'shop', name: 'one' };

test('paths follow group, version, namespace and subresource', (t) => {
  t.is(collectionPath(POD, 'v1'), '/api/v1/pods');
  t.is(collectionPath(POD, 'v1', 'shop'), '/api/v1/namespaces/shop/pods');
  t.is(objectPath(POD, 'v1', key, 'status'), '/api/v1/namespaces/shop/pods/one/status');
  t.is(objectPath({ group: '', kind: 'Node' }, 'v1', { namespace: '', name: 'a' }), '/api/v1/nodes/a');
  t.is(objectPath(POLICY, 'v1', key), '/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/one');
  t.deepEqual([apiVersionOf(POD, 'v1'), apiVersionOf(POLICY, 'v1')], ['v1', 'security.istio.io/v1']);
});

test('names cannot leave their path; names that cannot exist and unknown kinds are refused', (t) => {
  t.is(objectPath(POD, 'v1', { namespace: '../x', name: 'a/b' }), '/api/v1/namespaces/..%2Fx/pods/a%2Fb');
  t.throws(() => objectPath(POD, 'v1', { namespace: 'shop', name: '' }), { code: 'ERR_NOT_FOUND' });
  t.throws(() => objectPath(POD, 'v1', { namespace: '', name: 'one' }), { code: 'ERR_NOT_FOUND' });
  t.throws(() => collectionPath({ group: 'x', kind: 'Y' }, 'v1'), { code: 'ERR_UNSUPPORTED' });
});

test('selectors name the node, the object, both or nothing', (t) => {
  t.is(fieldSelector({}), '');
  t.is(fieldSelector({ nodeName: 'a', name: 'b' }), 'spec.nodeName=a,metadata.name=b');
  t.is(fieldSelector({ nodeName: 'a,b=c\\' }), 'spec.nodeName=a\\,b\\=c\\\\');
});
