import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { parseAllDocuments, stringify } from 'yaml';
import { customResourceDefinition, shippedKinds } from './crd.ts';
import { checkObject, KINDS } from './registry.ts';

const reasons = (apiVersion: string, kind: string, spec: unknown) =>
  checkObject({ apiVersion, kind, metadata: { name: 'x' }, spec } as never).map(
    ({ path, reason }) => `${path.join('.')}: ${reason}`,
  );

test('the CRD manifests are those of the schemas: npm run manifests', (t) => {
  const folder = new URL('../../deploy/crds/', import.meta.url);
  const expected = shippedKinds().map((kind) => `${kind.plural}.${kind.group}.yaml`);
  t.deepEqual(readdirSync(folder).sort(), [...expected].sort());
  for (const kind of shippedKinds()) {
    const text = stringify(customResourceDefinition(kind), {
      aliasDuplicateObjects: false,
      lineWidth: 0,
      version: '1.1',
    });
    t.is(readFileSync(new URL(`${kind.plural}.${kind.group}.yaml`, folder), 'utf8'), text, kind.kind);
  }
});

test('every node of a CRD schema is typed or explicitly open', (t) => {
  const walk = (schema: Record<string, unknown>, path: string): void => {
    const open = schema['x-kubernetes-preserve-unknown-fields'] || schema['x-kubernetes-int-or-string'];
    t.true(schema.type !== undefined || open === true, path);
    for (const [key, value] of Object.entries((schema.properties ?? {}) as Record<string, never>))
      walk(value, `${path}.${key}`);
    if (schema.items) walk(schema.items as Record<string, unknown>, `${path}[]`);
  };
  for (const kind of shippedKinds()) {
    const crd = customResourceDefinition(kind) as { spec: { versions: { schema: { openAPIV3Schema: never } }[] } };
    for (const version of crd.spec.versions) walk(version.schema.openAPIV3Schema, kind.kind);
  }
});

test('a misspelt field of a policy is refused with its path', (t) => {
  t.deepEqual(reasons('security.istio.io/v1', 'AuthorizationPolicy', { rules: [{ form: [] }] }), [
    'spec.rules.0.form: unknown field',
  ]);
});

test('a wrong type is named with its path', (t) => {
  t.deepEqual(reasons('security.istio.io/v1', 'AuthorizationPolicy', { action: 'PERMIT' }), [
    'spec.action: Invalid option: expected one of "ALLOW"|"DENY"|"AUDIT"|"CUSTOM"',
  ]);
  const [port] = reasons('security.istio.io/v1', 'PeerAuthentication', { portLevelMtls: { http: { mode: 'STRICT' } } });
  t.regex(port ?? '', /portLevelMtls\.http/);
});

test('a version that a kind never had is refused, kinds of others are let through', (t) => {
  t.is(reasons('security.istio.io/v9', 'AuthorizationPolicy', {}).length, 1);
  t.deepEqual(reasons('example.com/v1', 'Thing', { any: 1 }), []);
});

test('manifests that users already have are accepted', (t) => {
  const folder = new URL('../../test/testdata/acceptance/', import.meta.url);
  const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
  t.true(files.length >= 8);
  for (const file of files) {
    for (const document of parseAllDocuments(readFileSync(new URL(file, folder), 'utf8'))) {
      const object = document.toJS() as { apiVersion: string; kind: string; metadata?: { name?: string } };
      // A description of an installation needs no name; reading gives it one.
      t.deepEqual(checkObject({ ...object, ...{ metadata: { name: 'x', ...object.metadata } } }), [], file);
    }
  }
});

test('checking never throws, whatever the body', (t) => {
  fc.assert(
    fc.property(fc.constantFrom(...KINDS), fc.jsonValue(), fc.jsonValue(), (kind, spec, status) => {
      const apiVersion = kind.group === '' ? 'v1' : `${kind.group}/${kind.versions[0]}`;
      checkObject({ apiVersion, kind: kind.kind, metadata: { name: 'x' }, spec, status } as never);
      checkObject({ apiVersion, kind: kind.kind, metadata: spec } as never);
    }),
  );
  t.pass();
});
