import test from 'ava';
import type { KubeObject } from '../../kube/index.ts';
import { authorize } from '../../model/authorize.ts';
import { workloadsOf } from '../ir.ts';
import { DEFAULT_MESH_SETTINGS } from '../mesh-settings.ts';
import { resourcesOf } from '../resources-fixture.ts';
import { Translator } from './translator.ts';

const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'cart', namespace: 'shop', labels: { app: 'cart' } },
  spec: { nodeName: 'n' },
  status: { phase: 'Running', podIP: '10.0.0.1' },
} as KubeObject;

function refused(kind: string, spec: unknown, namespace = 'shop', annotations: Record<string, string> = {}) {
  const metadata = { name: 'broken', namespace, annotations };
  const object = { apiVersion: 'security.istio.io/v1', kind, metadata, spec } as KubeObject;
  return { object, reason: 'spec.x: unknown field' };
}

function translated(one: ReturnType<typeof refused>) {
  const { ir, statuses } = new Translator(DEFAULT_MESH_SETTINGS).translate(resourcesOf([POD], [one]));
  return { policies: ir.policies, lists: workloadsOf(ir)[0]?.authorizationPolicies ?? [], status: statuses[0] };
}

const CALLER = {
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'front' },
  sourceIp: '10.0.0.2',
  destinationIp: '10.0.0.1',
  destinationPort: 80,
};

test('a DENY in its place denies everybody in the namespace, under its name', (t) => {
  const { policies, status } = translated(refused('AuthorizationPolicy', { action: 'DENY', x: 1 }));
  t.like(policies[0], { name: 'broken', namespace: 'shop', scope: 'NAMESPACE', action: 'DENY', dryRun: false });
  t.like(authorize({ policies, unknown: [] }, CALLER), { allowed: false, by: 'shop/broken' });
  t.like(status?.conditions[0], { type: 'ZtunnelAccepted', status: 'False', reason: 'Invalid' });
  t.is(
    status?.conditions[0]?.message,
    'The object cannot be understood (spec.x: unknown field): everything is denied until it is mended.',
  );
});

test('an ALLOW in its place allows nobody, and others still may', (t) => {
  const { policies } = translated(refused('AuthorizationPolicy', { action: 'ALLOW', x: 1 }));
  t.false(authorize({ policies, unknown: [] }, CALLER).allowed);
  const other = { ...policies[0], name: 'other', rules: [{ clauses: [] }] } as (typeof policies)[number];
  t.true(authorize({ policies: [...policies, other], unknown: [] }, CALLER).allowed);
});

test('in the root namespace it holds for the mesh', (t) => {
  const { policies } = translated(refused('AuthorizationPolicy', 1, DEFAULT_MESH_SETTINGS.rootNamespace));
  t.is(policies[0]?.scope, 'GLOBAL');
});

test('with a good selector the pods it selects list it', (t) => {
  const spec = (app: string) => ({ action: 'DENY', selector: { matchLabels: { app } }, x: 1 });
  t.deepEqual(translated(refused('AuthorizationPolicy', spec('cart'))).lists, ['shop/broken']);
  t.deepEqual(translated(refused('AuthorizationPolicy', spec('other'))).lists, []);
});

test('a PeerAuthentication in its place lets nobody in without an identity', (t) => {
  const { policies } = translated(refused('PeerAuthentication', { mtls: { mode: 'PERMISSIVE' }, x: 1 }));
  t.is(policies[0]?.name, 'converted_peer_authentication_broken');
  t.true(authorize({ policies, unknown: [] }, CALLER).allowed);
  t.false(authorize({ policies, unknown: [] }, { ...CALLER, identity: undefined }).allowed);
});

test('what tunnels would not enforce if it were good stays unenforced, and its author is told', (t) => {
  const dryRun = refused('AuthorizationPolicy', { action: 'DENY', x: 1 }, 'shop', { 'istio.io/dry-run': 'true' });
  for (const one of [refused('AuthorizationPolicy', { action: 'AUDIT', x: 1 }), dryRun]) {
    const { policies, status } = translated(one);
    t.deepEqual(policies, []);
    t.regex(status?.conditions[0]?.message ?? '', /cannot be understood .* does not support/);
  }
});
