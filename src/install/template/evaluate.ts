/** Fills expressions with values. Pure; conditions are true as in Helm: empty text, 0, and empty lists and maps are not. */
import { stringify } from 'yaml';
import {
  type Condition,
  ENTRIES,
  FirstOf,
  isRef,
  Joined,
  ListPart,
  Namespace,
  pathOf,
  type Ref,
  TextNode,
  When,
  YamlText,
} from './expression.ts';

export interface Filling {
  readonly values: object;
  readonly namespace: string;
  /** `gateway.networking.k8s.io/v1`. */
  readonly served: ReadonlySet<string>;
  /** The element of the list that is gone through. */
  readonly item?: unknown;
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** The node as plain data; undefined when nothing of it is there. */
export function evaluate(node: unknown, filling: Filling): unknown {
  if (isRef(node)) return valueAt(node, filling);
  if (node instanceof TextNode) return textOf(node, filling);
  if (node instanceof FirstOf) return valueAt(node.preferred, filling) || valueAt(node.otherwise, filling);
  if (node instanceof Namespace) return filling.namespace;
  if (node instanceof Joined) return (valueAt(node.source, filling) as readonly string[]).join(',');
  if (node instanceof YamlText)
    return stringify(valueAt(node.source, filling), { sortMapEntries: true, version: '1.1' }).trimEnd();
  if (node instanceof When) return holds(node.condition, filling) ? evaluate(node.content, filling) : undefined;
  if (Array.isArray(node)) return node.flatMap((element) => evaluateElement(element, filling));
  if (typeof node === 'object' && node !== null) return evaluateMap(node, filling);
  return node;
}

/** Whether the condition is met. */
export function holds(condition: Condition, filling: Filling): boolean {
  if (isRef(condition)) return !isEmpty(valueAt(condition, filling));
  if ('not' in condition) return !holds(condition.not, filling);
  if ('all' in condition) return condition.all.every((part) => holds(part, filling));
  if ('any' in condition) return condition.any.some((part) => holds(part, filling));
  return filling.served.has(condition.served);
}

export function valueAt(ref: Ref<unknown>, { values, item }: Filling): unknown {
  const { root, steps } = pathOf(ref);
  let value: unknown = root === 'values' ? values : item;
  for (const step of steps) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[step];
  }
  return value;
}

function evaluateElement(element: unknown, filling: Filling): readonly unknown[] {
  if (element instanceof ListPart) {
    const value = valueAt(element.source, filling) ?? [];
    if (element.form === 'elements') return value as readonly unknown[];
    if (element.form === 'names') return (value as readonly string[]).map((name) => ({ name }));
    const entries = Object.entries(value as object).sort(([a], [b]) => (a < b ? -1 : 1));
    return entries.map(([name, of]) => ({ name, value: String(of) }));
  }
  const value = evaluate(element, filling);
  if (value === undefined) return [];
  return element instanceof When && Array.isArray(element.content) ? (value as readonly unknown[]) : [value];
}

function evaluateMap(node: object, filling: Filling): Readonly<Record<string, Json>> {
  const result: Record<string, Json> = {};
  for (const [key, part] of Object.entries(node)) {
    const value = evaluate(part, filling);
    if (value !== undefined && value !== null) result[key] = value as Json; // plain data by construction
  }
  const entries = (node as { readonly [ENTRIES]?: Ref<object> })[ENTRIES];
  return entries === undefined ? result : { ...result, ...(valueAt(entries, filling) as Record<string, Json>) };
}

function textOf({ strings, parts }: TextNode, filling: Filling): string {
  return strings.map((string, index) => string + String(evaluate(parts[index], filling) ?? '')).join('');
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return !value;
}
