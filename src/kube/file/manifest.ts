/**
 * Kubernetes manifests as text: YAML with several documents, `List` kinds, or JSON.
 *
 * Invariants
 *  - Total: any text gives a manifest; what cannot be used becomes a problem with the line it stands on.
 *  - A syntax error spoils the whole file (`broken`): nobody knows what the rest was meant to be.
 *  - A single bad object spoils only itself; its key, where it can be told, is in the problem.
 *  - What was refused is handed on as far as it can be read, so that its kind may fail closed.
 */
import { type Document, isMap, isNode, isSeq, LineCounter, type ParsedNode, parseAllDocuments } from 'yaml';
import { checkObject } from '../../schema/index.ts';
import type { KubeObject } from '../port.ts';
import { type ObjectKey, objectKeyOf } from './object-key.ts';

export interface ManifestProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
  /** The object that was refused, when its name could still be read. */
  readonly object?: ObjectKey;
}

export interface LocatedObject {
  readonly key: ObjectKey;
  readonly object: KubeObject;
  readonly line: number;
}

export interface RefusedDocument extends LocatedObject {
  readonly reason: string;
}

export interface Manifest {
  readonly objects: readonly LocatedObject[];
  /** Refused objects whose kind and name can be read; of a broken file those that the reader could still make out. */
  readonly refused: readonly RefusedDocument[];
  readonly problems: readonly ManifestProblem[];
  /** The text is not YAML (or JSON): nothing of it can be trusted. */
  readonly broken: boolean;
}

/** What a schema says against an object. */
export interface ObjectFault {
  readonly path: readonly (string | number)[];
  readonly reason: string;
}

/** What is wrong with an object; an empty answer accepts it. */
export type ObjectCheck = (object: KubeObject) => readonly ObjectFault[];

/** A manifest with more objects than this is refused as a whole. */
const MAX_OBJECTS_PER_FILE = 20_000;

export function parseManifest(file: string, text: string, check: ObjectCheck = checkObject): Manifest {
  const objects: LocatedObject[] = [];
  const problems: ManifestProblem[] = [];
  const refused: RefusedDocument[] = [];
  const read = file.endsWith('.json') ? readJson(text) : readYaml(text);
  if (!Array.isArray(read)) {
    const { line, reason, readable } = read;
    const kept = readable.flatMap((value) => toRefused(value, line, `${file}:${line}: ${reason}`));
    return { objects, refused: kept, problems: [{ file, line, reason }], broken: true };
  }
  for (const found of read) {
    const outcome = toObject(found.value);
    if (typeof outcome === 'string') {
      const kept = toRefused(found.value, found.lineOf([]), outcome);
      refused.push(...kept);
      problems.push({ file, line: found.lineOf([]), reason: outcome, ...(kept[0] ? { object: kept[0].key } : {}) });
      continue;
    }
    const key = objectKeyOf(outcome);
    const faults = check(outcome);
    for (const fault of faults) {
      const at = fault.path.length > 0 ? `${fault.path.join('.')}: ` : '';
      const reason = `${outcome.kind} ${outcome.metadata.name}: ${at}${fault.reason}`;
      problems.push({ file, line: found.lineOf(fault.path), reason, object: key });
    }
    const [first] = faults;
    const located = { key, object: outcome, line: found.lineOf([]) };
    if (first) refused.push({ ...located, reason: [first.path.join('.'), first.reason].filter(Boolean).join(': ') });
    else objects.push(located);
  }
  return { objects, refused, problems, broken: false };
}

interface Found {
  readonly value: unknown;
  readonly lineOf: (path: readonly (string | number)[]) => number;
}

interface SyntaxFault {
  readonly line: number;
  readonly reason: string;
  /** Documents of the text, as far as they could be made out. */
  readonly readable: readonly unknown[];
}

function readJson(text: string): Found[] | SyntaxFault {
  if (text.trim() === '') return [];
  try {
    const value: unknown = JSON.parse(text);
    return itemsOf(value).map((item) => ({ value: item, lineOf: () => 1 }));
  } catch {
    // The YAML reader takes JSON too and knows the line.
    return readYaml(text);
  }
}

function readYaml(text: string): Found[] | SyntaxFault {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, merge: true, logLevel: 'silent' });
  if (!Array.isArray(documents)) return [];
  const found: Found[] = [];
  for (const document of documents) {
    const error = document.errors[0];
    if (error) {
      const readable = documents.flatMap(readableParts);
      return { line: lines.linePos(error.pos[0]).line, reason: firstLine(error.message), readable };
    }
    if (document.contents === null) continue;
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (cause) {
      const readable = documents.flatMap(readableParts);
      return { line: lineOfNode(document.contents, lines), reason: firstLine(String(cause)), readable };
    }
    if (value === null) continue;
    const list = isList(value);
    const items = itemsOf(value);
    for (const [index, item] of items.entries()) {
      const start = list ? ['items', index] : [];
      found.push({ value: item, lineOf: (path) => lineAt(document.contents, [...start, ...path], lines) });
      if (found.length > MAX_OBJECTS_PER_FILE) {
        return {
          line: 1,
          reason: `more than ${MAX_OBJECTS_PER_FILE} objects`,
          readable: found.map((one) => one.value),
        };
      }
    }
  }
  return found;
}

/** What a document that may be broken still says. */
function readableParts(document: Document.Parsed): readonly unknown[] {
  try {
    return itemsOf(document.toJS({ maxAliasCount: 100 }));
  } catch {
    return [];
  }
}

/** The line of the deepest node on `path` that exists. */
function lineAt(root: ParsedNode | null, path: readonly (string | number)[], lines: LineCounter): number {
  let node: unknown = root;
  let line = lineOfNode(root, lines);
  for (const step of path) {
    if (!isMap(node) && !isSeq(node)) break;
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => String((item.key as { value?: unknown })?.value ?? item.key) === String(step),
      );
      if (!pair) break;
      line = lineOfNode(pair.key, lines, line);
      node = pair.value;
    } else {
      node = node.get(Number(step), true);
      line = lineOfNode(node, lines, line);
    }
  }
  return line;
}

function lineOfNode(node: unknown, lines: LineCounter, otherwise = 1): number {
  const start = isNode(node) ? node.range?.[0] : undefined;
  return start === undefined ? otherwise : lines.linePos(start).line;
}

function isList(value: unknown): value is { readonly items: readonly unknown[] } {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, items } = value as Record<string, unknown>;
  return typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items);
}

function itemsOf(value: unknown): readonly unknown[] {
  return isList(value) ? value.items : [value];
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9:._-]{0,252}$/;

/** The least that makes a Kubernetes object; the answer is a reason when it is not one. */
function toObject(value: unknown): KubeObject | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not an object';
  const { apiVersion, kind, metadata } = value as Record<string, unknown>;
  if (typeof apiVersion !== 'string' || apiVersion === '') return 'apiVersion is missing';
  if (apiVersion.split('/').length > 2) return `apiVersion ${apiVersion} is not <group>/<version>`;
  if (typeof kind !== 'string' || !/^[A-Z][A-Za-z0-9]{0,62}$/.test(kind)) return 'kind is missing';
  // Install descriptions are read by `install`, which needs no name.
  const given = (metadata ?? {}) as Record<string, unknown>;
  if (typeof given !== 'object' || Array.isArray(given)) return `${kind}: metadata is not an object`;
  const name = given.name ?? (kind === 'IstioOperator' ? 'installed-state' : undefined);
  if (typeof name !== 'string' || !NAME.test(name)) return `${kind}: metadata.name is missing or not a name`;
  const { namespace } = given;
  if (namespace !== undefined && (typeof namespace !== 'string' || !NAME.test(namespace))) {
    return `${kind} ${name}: metadata.namespace is not a name`;
  }
  for (const field of ['labels', 'annotations']) {
    const fault = notStrings(given[field]);
    if (fault !== undefined) return `${kind} ${name}: metadata.${field}${fault}`;
  }
  // An empty key (`annotations:`) means the same as none.
  const said = Object.fromEntries(Object.entries(given).filter(([, field]) => field !== null && field !== undefined));
  return { ...(value as KubeObject), metadata: { ...(said as unknown as KubeObject['metadata']), name } };
}

/** An object that cannot be used, with what can be said of it for sure; none when its kind or name cannot be read. */
function toRefused(value: unknown, line: number, reason: string): RefusedDocument[] {
  if (typeof value !== 'object' || value === null) return [];
  const { metadata } = value as Record<string, unknown>;
  if (typeof metadata !== 'object' || metadata === null) return [];
  const { name, namespace, labels, annotations } = metadata as Record<string, unknown>;
  const sure = { name, namespace, labels: stringsOf(labels), annotations: stringsOf(annotations) };
  const object = toObject({ ...value, metadata: sure });
  return typeof object === 'string' ? [] : [{ key: objectKeyOf(object), object, line, reason }];
}

function stringsOf(value: unknown): Readonly<Record<string, string>> | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function notStrings(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) return ' is not a map';
  const bad = Object.entries(value).find(([, item]) => typeof item !== 'string');
  return bad ? `.${bad[0]} is not a string; quote it` : undefined;
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '');
}
