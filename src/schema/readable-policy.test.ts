import test from 'ava';
import fc from 'fast-check';
import { parse } from 'yaml';
import { readablePolicy } from './readable-policy.ts';

const reads = test.macro((t, spec: string, expected: object, kind: string = 'AuthorizationPolicy') => {
  t.like(readablePolicy({ kind, metadata: {}, spec: parse(spec) }), expected);
});
const EVERYTHING = { enforced: true, selector: undefined };

test('a broken DENY denies all', reads, '{action: DENY, rulez: []}', { ...EVERYTHING, strictest: 'deny-all' });
test('a broken ALLOW allows nothing', reads, '{action: ALLOW, rulez: []}', { strictest: 'allow-nothing' });
test('without an action it is an ALLOW', reads, '{rules: [{form: []}]}', { strictest: 'allow-nothing' });
test('a misspelt action denies all', reads, '{actoin: DENY}', { strictest: 'deny-all' });
test('an action nobody knows denies all', reads, '{action: DENYY}', { strictest: 'deny-all' });
test('a spec that is none denies all', reads, '[1]', { ...EVERYTHING, strictest: 'deny-all' });
test('AUDIT enforces nothing, as ever', reads, '{action: AUDIT, rulez: []}', { enforced: false });
test('CUSTOM enforces nothing, as ever', reads, '{action: CUSTOM, rulez: []}', { enforced: false });
test('what is for a waypoint is not the tunnels', reads, '{targetRefs: [{kind: Service, name: a}], x: 1}', {
  enforced: false,
});
test('targets that cannot be read select everything', reads, '{targetRefs: [Service], action: DENY}', {
  ...EVERYTHING,
  strictest: 'deny-all',
});
test('targets and a selector at once select everything', reads, '{targetRef: {kind: S, name: a}, selector: {}}', {
  ...EVERYTHING,
});
test('a good selector holds', reads, '{selector: {matchLabels: {app: a}}, action: DENY, x: 1}', {
  selector: { app: 'a' },
});
test('a misspelt selector selects everything', reads, '{selector: {matchLabel: {app: a}}}', EVERYTHING);
test('a selector with a number selects everything', reads, '{selector: {matchLabels: {app: 1}}}', EVERYTHING);
test(
  'a PeerAuthentication is STRICT whatever it says',
  reads,
  '{mtls: {mode: PERMISSIVE, x: 1}}',
  { ...EVERYTHING, strictest: 'deny-without-identity' },
  'PeerAuthentication',
);

test('dry-run stays dry-run', (t) => {
  const annotations = { 'istio.io/dry-run': 'true' };
  t.like(readablePolicy({ kind: 'AuthorizationPolicy', metadata: { annotations }, spec: 1 }), { dryRun: true });
});

test('any spec is read', (t) => {
  fc.assert(
    fc.property(fc.anything(), (spec) => {
      const { enforced } = readablePolicy({ kind: 'AuthorizationPolicy', metadata: {}, spec });
      t.is(typeof enforced, 'boolean');
    }),
  );
});
