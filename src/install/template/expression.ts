/**
 * Manifests are plain data in which installation values stand as expressions. The same data is evaluated for the command
 * line and for plain YAML, and printed as templates for the Helm chart: nothing is written twice.
 *
 * Expressions are few on purpose: a value, text with values in it, and parts that are there only under a condition.
 */

const PATH = Symbol('path');
const OF = Symbol('type');
/** Key of a map whose entries come from a value: `{ app: 'x', [ENTRIES]: values.labels }`. */
export const ENTRIES = Symbol('entries');

type Primitive = string | number | boolean;

/** A value of type T, to be filled in. */
export interface Ref<T> {
  readonly [PATH]: RefPath;
  readonly [OF]?: T;
}

export interface RefPath {
  /** `values` of the installation, or the `item` of the list that is gone through. */
  readonly root: 'values' | 'item';
  readonly steps: readonly string[];
}

/** Every value of T as an expression, reached by its path. */
export type Refs<T> = Ref<T> &
  (T extends readonly unknown[]
    ? unknown
    : T extends object
      ? { readonly [K in keyof T]-?: Refs<Exclude<T[K], undefined>> }
      : unknown);

/** Text with expressions inside. */
export class TextNode {
  readonly strings: readonly string[];
  readonly parts: readonly (Ref<Primitive> | FirstOf | Namespace)[];

  constructor(strings: readonly string[], parts: TextNode['parts']) {
    this.strings = strings;
    this.parts = parts;
  }
}

/** The first of two values that is not empty. */
export class FirstOf {
  readonly preferred: Ref<Primitive>;
  readonly otherwise: Ref<Primitive>;

  constructor(preferred: Ref<Primitive>, otherwise: Ref<Primitive>) {
    this.preferred = preferred;
    this.otherwise = otherwise;
  }
}

/** The namespace that is installed into. */
export class Namespace {
  readonly kind = 'namespace';
}

/** A map entry, list element or list part that is there only when the condition holds. */
export class When<T> {
  readonly condition: Condition;
  readonly content: T;

  constructor(condition: Condition, content: T) {
    this.condition = condition;
    this.content = content;
  }
}

/** The elements of a list value, the same as `name`s, or `name` and `value` of each entry of a map, as part of a list. */
export class ListPart {
  readonly source: Ref<unknown>;
  readonly form: 'elements' | 'environment' | 'names';

  constructor(source: Ref<unknown>, form: ListPart['form']) {
    this.source = source;
    this.form = form;
  }
}

/** The elements of a list of texts, with commas between. */
export class Joined {
  readonly source: Ref<readonly string[]>;

  constructor(source: Ref<readonly string[]>) {
    this.source = source;
  }
}

/** A value as YAML text. */
export class YamlText {
  readonly source: Ref<object>;

  constructor(source: Ref<object>) {
    this.source = source;
  }
}

export type Condition =
  | Ref<unknown>
  | { readonly not: Condition }
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  /** The cluster serves this group version. */
  | { readonly served: string };

type Leaf<T> = T | Ref<Primitive> | (T extends string ? TextNode | FirstOf | Namespace | Joined | YamlText : never);

/** T with expressions anywhere. */
export type Templated<T> = T extends Primitive
  ? Leaf<T>
  : T extends readonly (infer E)[]
    ? readonly (Templated<E> | When<Templated<E> | readonly Templated<E>[]> | ListPart)[] | Ref<readonly unknown[]>
    : T extends object
      ?
          | ({ readonly [K in keyof T]: Templated<T[K]> | When<Templated<T[K]>> } & {
              readonly [ENTRIES]?: Ref<object>;
            })
          | Ref<object>
      : T;

/** Expressions for everything below `root`. */
export function refs<T>(root: RefPath['root'] = 'values', steps: readonly string[] = []): Refs<T> {
  const path: RefPath = { root, steps };
  return new Proxy({} as Refs<T>, {
    get: (_, key) => (key === PATH ? path : typeof key === 'string' ? refs(root, [...steps, key]) : undefined),
    has: (_, key) => key === PATH,
  });
}

export function isRef(node: unknown): node is Ref<unknown> {
  return typeof node === 'object' && node !== null && PATH in node;
}

export function pathOf(ref: Ref<unknown>): RefPath {
  return ref[PATH];
}

export function text(strings: TemplateStringsArray, ...parts: TextNode['parts']): TextNode {
  return new TextNode([...strings], parts);
}

export function when<T>(condition: Condition, content: T): When<T> {
  return new When(condition, content);
}

/** A value that is left out while it is empty. */
export function whenSet<T>(ref: Ref<T>): When<Ref<T>> {
  return new When(ref, ref);
}

export function firstOf(preferred: Ref<Primitive>, otherwise: Ref<Primitive>): FirstOf {
  return new FirstOf(preferred, otherwise);
}

export function elementsOf(source: Ref<unknown>): ListPart {
  return new ListPart(source, 'elements');
}

export function environmentOf(source: Ref<Readonly<Record<string, unknown>>>): ListPart {
  return new ListPart(source, 'environment');
}

export function namesOf(source: Ref<readonly string[]>): ListPart {
  return new ListPart(source, 'names');
}

export function joined(source: Ref<readonly string[]>): Joined {
  return new Joined(source);
}

export function yamlText(source: Ref<object>): YamlText {
  return new YamlText(source);
}

export const NAMESPACE = new Namespace();
