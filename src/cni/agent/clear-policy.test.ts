import test from 'ava';
import { parse } from 'yaml';
import {
  type AuthorizationPolicy,
  type ClearCall,
  findClearFault,
  mayForbidClear,
  type PeerAuthentication,
  type PolicySet,
} from './clear-policy.ts';

const RECEIVER = { namespace: 'shop', labels: { app: 'cart' } };
const CALL: ClearCall = { sourceIp: '10.0.0.9', destinationIp: '10.0.0.2', port: 8080 };

function policies(text: string): PolicySet {
  const objects = text.split('---').map((part) => parse(part) as PeerAuthentication & AuthorizationPolicy);
  const named = objects.map((object, index) => ({
    ...object,
    metadata: { ...object.metadata, namespace: object.metadata?.namespace ?? 'shop', name: `p${index}` },
  }));
  return {
    peerAuthentications: named.filter(({ kind }) => kind === 'PeerAuthentication'),
    authorizationPolicies: named.filter(({ kind }) => kind === 'AuthorizationPolicy'),
    rootNamespace: 'istio-system',
  };
}

const forbids = test.macro((t, text: string, expected: string | undefined, call: Partial<ClearCall> = {}) => {
  const set = policies(text);
  t.is(findClearFault(set, RECEIVER, { ...CALL, ...call }), expected);
  if (expected !== undefined) t.true(mayForbidClear(set, RECEIVER));
});

const PA = 'kind: PeerAuthentication\n';
const DENY = 'kind: AuthorizationPolicy\nspec: {action: DENY, ';
test('STRICT of the namespace forbids', forbids, `${PA}spec: {mtls: {mode: STRICT}}`, 'STRICT');
test(
  'STRICT of the mesh forbids',
  forbids,
  `${PA}metadata: {namespace: istio-system}\nspec: {mtls: {mode: STRICT}}`,
  'STRICT',
);
test('PERMISSIVE does not', forbids, `${PA}spec: {mtls: {mode: PERMISSIVE}}`, undefined);
test(
  'STRICT of another namespace does not',
  forbids,
  `${PA}metadata: {namespace: x}\nspec: {mtls: {mode: STRICT}}`,
  undefined,
);
test(
  'the namespace decides before the mesh',
  forbids,
  `${PA}metadata: {namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n---\n${PA}spec: {mtls: {mode: PERMISSIVE}}`,
  undefined,
);
test(
  'the workload decides before the namespace',
  forbids,
  `${PA}spec: {mtls: {mode: PERMISSIVE}}\n---\n${PA}spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}`,
  'STRICT',
);
test(
  'a port decides before the workload',
  forbids,
  `${PA}spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}`,
  undefined,
);
test(
  'STRICT of one port forbids there',
  forbids,
  `${PA}spec: {selector: {matchLabels: {app: cart}}, portLevelMtls: {8080: {mode: STRICT}}}`,
  'STRICT',
);
test(
  'a selector of others does not count',
  forbids,
  `${PA}spec: {selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}`,
  undefined,
);
test('DENY of everything', forbids, `${DENY}rules: [{}]}`, 'shop/p0');
test('DENY without a rule denies nothing', forbids, `${DENY}rules: []}`, undefined);
test('DENY of a source range', forbids, `${DENY}rules: [{from: [{source: {ipBlocks: [10.0.0.0/24]}}]}]}`, 'shop/p0');
test('DENY of another range', forbids, `${DENY}rules: [{from: [{source: {ipBlocks: [10.1.0.0/24]}}]}]}`, undefined);
test(
  'DENY of a principal knows no caller in clear',
  forbids,
  `${DENY}rules: [{from: [{source: {principals: ["*"]}}]}]}`,
  undefined,
);
test(
  'DENY of all but a principal covers it',
  forbids,
  `${DENY}rules: [{from: [{source: {notPrincipals: [a]}}]}]}`,
  'shop/p0',
);
test('DENY of the port', forbids, `${DENY}rules: [{to: [{operation: {ports: ["8080"]}}]}]}`, 'shop/p0');
test('DENY of another port', forbids, `${DENY}rules: [{to: [{operation: {ports: ["80"]}}]}]}`, undefined);
test(
  'DENY of the port with a path: the path is passed over',
  forbids,
  `${DENY}rules: [{to: [{operation: {ports: ["8080"], paths: [/x]}}]}]}`,
  'shop/p0',
);
test(
  'DENY of a path alone says nothing here',
  forbids,
  `${DENY}rules: [{to: [{operation: {paths: [/x]}}]}]}`,
  undefined,
);
test('DENY by a condition', forbids, `${DENY}rules: [{when: [{key: source.ip, values: [10.0.0.9]}]}]}`, 'shop/p0');
test(
  'DENY at a waypoint is not for the pod',
  forbids,
  `${DENY}targetRefs: [{kind: Service, name: x}], rules: [{}]}`,
  undefined,
);
test('ALLOW is judged by the tunnel', forbids, 'kind: AuthorizationPolicy\nspec: {rules: []}', undefined);
test('IPv6 ranges', forbids, `${DENY}rules: [{from: [{source: {ipBlocks: ["fd00::/8"]}}]}]}`, 'shop/p0', {
  sourceIp: 'fd00::9',
});

test('with nothing that could forbid there is nothing to look for', (t) => {
  t.false(mayForbidClear(policies(`${PA}spec: {mtls: {mode: PERMISSIVE}}`), RECEIVER));
  t.false(mayForbidClear(policies(`${DENY.replace('DENY', 'ALLOW')}rules: [{}]}`), RECEIVER));
});

const refused = (kind: string, spec: unknown): PolicySet => ({
  ...policies(`${PA}spec: {mtls: {mode: PERMISSIVE}}`),
  refused: [
    { apiVersion: 'security.istio.io/v1', kind, metadata: { name: 'broken', namespace: 'shop' }, spec } as never,
  ],
});

test('a policy that cannot be understood forbids what its strictest reading forbids', (t) => {
  const fault = (kind: string, spec: unknown) => {
    const set = refused(kind, spec);
    t.is(mayForbidClear(set, RECEIVER), findClearFault(set, RECEIVER, CALL) !== undefined);
    return findClearFault(set, RECEIVER, CALL);
  };
  t.is(fault('AuthorizationPolicy', { action: 'DENY', x: 1 }), 'shop/broken');
  t.is(fault('PeerAuthentication', { x: 1 }), 'shop/broken');
  t.is(fault('AuthorizationPolicy', { action: 'DENY', selector: { matchLabels: { app: 'other' } }, x: 1 }), undefined);
  t.is(fault('AuthorizationPolicy', { action: 'ALLOW', x: 1 }), undefined);
  t.is(fault('AuthorizationPolicy', { action: 'AUDIT', x: 1 }), undefined);
});
