/** Which of the given values are known here: those are kept, the others are named by their paths. */
import { z } from 'zod';
import { isMap, valuesSchema } from './values.ts';

export interface KnownValues {
  readonly values: Readonly<Record<string, unknown>>;
  /** `pilot.traceSampling`. */
  readonly unknown: readonly string[];
}

/** Total; types of values are not looked at. */
export function parseDefinedValues(given: Readonly<Record<string, unknown>>): KnownValues {
  const unknown: string[] = [];
  const values = keep(given, valuesSchema, [], unknown);
  return { values, unknown };
}

function keep(
  given: Readonly<Record<string, unknown>>,
  schema: z.ZodObject,
  path: readonly string[],
  unknown: string[],
): Readonly<Record<string, unknown>> {
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    const field = schema.shape[key] as z.ZodType | undefined;
    const inner = field && objectOf(field);
    if (field === undefined) unknown.push([...path, key].join('.'));
    else
      kept[key] = inner && isMap(value) && key !== 'meshConfig' ? keep(value, inner, [...path, key], unknown) : value;
  }
  return kept;
}

/** The object schema below defaults. */
function objectOf(schema: z.ZodType): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return objectOf(schema.unwrap() as z.ZodType);
  return undefined;
}
