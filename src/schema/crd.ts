/**
 * CustomResourceDefinitions of the Istio kinds, made from their schemas.
 * Source: Kubernetes apiextensions.k8s.io/v1, structural schemas.
 */
import { z } from 'zod';
import type { KindDefinition } from './kind.ts';
import { KINDS } from './registry.ts';

type Schema = Record<string, unknown>;

/** Kinds whose definitions are ours to ship: those of Kubernetes and of the Gateway API have owners. */
export function shippedKinds(): readonly KindDefinition[] {
  return KINDS.filter(({ group }) => isOurs(group));
}

function isOurs(group: string): boolean {
  return group === 'culvert.dev' || (group.endsWith('.istio.io') && group !== 'install.istio.io');
}

/** The definition as an object to apply. */
export function customResourceDefinition(definition: KindDefinition): Schema {
  const { group, kind, plural, versions, shortNames } = definition;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'culvert' } },
    spec: {
      group,
      scope: definition.clusterScoped ? 'Cluster' : 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        categories: [group === 'culvert.dev' ? 'culvert' : 'istio-io'],
        ...(shortNames ? { shortNames } : {}),
      },
      versions: versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema: { openAPIV3Schema: bodySchema(definition) },
      })),
    },
  };
}

function bodySchema({ body, rules = [] }: KindDefinition): Schema {
  const { spec } = body.shape as { spec?: z.ZodType };
  const specSchema = spec
    ? structural(z.toJSONSchema(spec, { target: 'openapi-3.0', io: 'input' }))
    : { type: 'object' };
  const cel = rules.map(({ rule, message }) => ({ rule, message }));
  const validations = cel.length > 0 ? { 'x-kubernetes-validations': cel } : {};
  return {
    type: 'object',
    properties: {
      spec: { ...specSchema, ...validations },
      status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
    ...(spec && !spec.safeParse(undefined).success ? { required: ['spec'] } : {}),
  };
}

/** JSON Schema as the API server wants it: every node typed, unknown fields either pruned or kept explicitly. */
function structural(schema: unknown): Schema {
  if (typeof schema !== 'object' || schema === null) return { 'x-kubernetes-preserve-unknown-fields': true };
  const { $schema, properties, items, additionalProperties, propertyNames, anyOf, pattern, ...rest } = schema as Schema;
  if (rest['x-kubernetes-int-or-string']) return { 'x-kubernetes-int-or-string': true };
  if (Array.isArray(anyOf)) return structural(anyOf[0]);
  const result: Schema = { ...rest };
  if (typeof pattern === 'string') result.pattern = pattern;
  if (items !== undefined) result.items = structural(items);
  if (typeof properties === 'object' && properties !== null) {
    result.properties = Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, structural(value)]));
    if (isOpen(additionalProperties)) result['x-kubernetes-preserve-unknown-fields'] = true;
  } else if (isOpen(additionalProperties)) {
    result['x-kubernetes-preserve-unknown-fields'] = true;
  } else if (typeof additionalProperties === 'object' && additionalProperties !== null) {
    result.additionalProperties = structural(additionalProperties);
  }
  if (result.type === undefined) result['x-kubernetes-preserve-unknown-fields'] = true;
  return result;
}

function isOpen(additional: unknown): boolean {
  if (additional === true) return true;
  return typeof additional === 'object' && additional !== null && Object.keys(additional).length === 0;
}
