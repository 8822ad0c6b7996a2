/**
 * A served kind, written once: its validation, the types taken from it and its CustomResourceDefinition.
 *
 * Kinds of Istio are strict: a field nobody knows is a fault, because a misspelt condition of a policy would otherwise
 * widen it. Kinds of Kubernetes and of the Gateway API are open: their owners add fields.
 */
import { z } from 'zod';

/** What the program does with objects of a kind. */
export type Serving =
  /** Takes effect. */
  | 'served'
  /** Read and validated; takes no effect yet, and its status says so. */
  | 'not-served'
  /** Read by other commands only; no status of its own. */
  | 'passive';

export interface KindDefinition {
  readonly group: string;
  readonly kind: string;
  /** Storage version first. */
  readonly versions: readonly string[];
  readonly plural: string;
  readonly shortNames?: readonly string[];
  readonly clusterScoped?: boolean;
  readonly serving: Serving;
  /** The whole object besides apiVersion, kind and metadata. */
  readonly body: z.ZodObject;
  /** Rules that span fields, in CEL, on `spec`. */
  readonly rules?: readonly CelRule[];
}

/** A rule over `spec`: in CEL for the API server (x-kubernetes-validations), and the same as a function for us. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly holds: (spec: Readonly<Record<string, unknown>>) => boolean;
}

/** How many of these fields are given. */
export function countOf(spec: Readonly<Record<string, unknown>>, ...fields: readonly string[]): number {
  return fields.filter((field) => spec[field] !== undefined).length;
}

/** Readonly all the way down. */
export type Plain<T> = T extends (infer E)[]
  ? readonly Plain<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Plain<T[K]> }
    : T;

export const text = z.string();
export const name = z.string().min(1).max(253);
export const texts = z.array(z.string()).optional();
export const labels = z.record(z.string(), z.string());
export const flag = z.boolean().optional();
export const portNumber = z.int().min(1).max(65_535);
export const port16 = z.int().min(0).max(65_535);
/** A number, or text: `80`, `http`. */
export const intOrString = z.union([z.int(), z.string()]).meta({ 'x-kubernetes-int-or-string': true });
/** A duration as Istio writes it: `10s`, `1h30m`, `250ms`. */
export const duration = z.string().regex(/^(\d+(\.\d+)?(h|m|s|ms))+$/, 'is not a duration such as 5s or 250ms');
/** Anything; the part is not looked into. */
export const anything = z.record(z.string(), z.unknown());

export const labelSelector = z.looseObject({
  matchLabels: labels.optional(),
  matchExpressions: z
    .array(
      z.object({
        key: text,
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: texts,
      }),
    )
    .optional(),
});

/** What the mesh reads of an object's metadata. */
export const objectMeta = z.looseObject({
  name,
  namespace: text.optional(),
  uid: text.optional(),
  generation: z.int().optional(),
  generateName: text.optional(),
  creationTimestamp: text.nullish(),
  deletionTimestamp: text.nullish(),
  labels: labels.nullish(),
  annotations: labels.nullish(),
  ownerReferences: z
    .array(z.looseObject({ apiVersion: text, kind: text, name: text, uid: text, controller: flag }))
    .optional(),
});

export const condition = z.looseObject({
  type: text,
  status: text,
  reason: text.optional(),
  message: text.optional(),
  lastTransitionTime: text.optional(),
  observedGeneration: intOrString.optional(),
});

export type Condition = Plain<z.infer<typeof condition>>;
