/**
 * Prints manifests with expressions as templates of a Helm chart. What is printed, filled by Helm with some values, is
 * the same object as `evaluate` makes of them.
 *
 * Only values of the chart are read (`$.Values`), so that a template means the same inside `range` and `with`.
 */
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

/** What a value is when nobody chose it; its type decides how it is printed. */
export interface Sample {
  readonly values: object;
  readonly item: unknown;
}

const STEP = '  ';
/** Scalars that YAML reads as the same text without quotes. */
const PLAIN = /^[A-Za-z/][A-Za-z0-9_./-]*$/;
const RESERVED = /^(true|false|null|yes|no|on|off|y|n)$/i;

/** One document, ending with a line break. */
export function helmDocument(manifest: object, sample: Sample): string {
  return `${mapLines(manifest, '', sample).join('\n')}\n`;
}

/** `{{ if }}` of a condition; without the closing. */
export function helmCondition(condition: Condition): string {
  return `{{- if ${conditionText(condition)} }}`;
}

/** The expression of a value: `$.Values.pilot.image`. */
export function helmValue(ref: Ref<unknown>): string {
  const { root, steps } = pathOf(ref);
  return [root === 'values' ? '$.Values' : '$item', ...steps].join('.');
}

function conditionText(condition: Condition): string {
  if (isRef(condition)) return helmValue(condition);
  if ('not' in condition) return `not ${operand(condition.not)}`;
  if ('all' in condition) return `and ${condition.all.map(operand).join(' ')}`;
  if ('any' in condition) return `or ${condition.any.map(operand).join(' ')}`;
  return `$.Capabilities.APIVersions.Has ${JSON.stringify(condition.served)}`;
}

function operand(condition: Condition): string {
  return isRef(condition) ? helmValue(condition) : `(${conditionText(condition)})`;
}

function mapLines(map: object, indent: string, sample: Sample): string[] {
  const lines = Object.entries(map).flatMap(([key, value]) => entryLines(key, value, indent, sample));
  const entries = (map as { readonly [ENTRIES]?: Ref<object> })[ENTRIES];
  if (entries === undefined) return lines;
  const nested = `${indent}{{- toYaml . | nindent ${indent.length} }}`;
  return [...lines, `${indent}{{- with ${helmValue(entries)} }}`, nested, `${indent}{{- end }}`];
}

function entryLines(key: string, value: unknown, indent: string, sample: Sample): string[] {
  const name = `${indent}${scalarText(key)}:`;
  if (value instanceof When) {
    const { condition, content } = value as When<unknown>;
    return [`${indent}${helmCondition(condition)}`, ...entryLines(key, content, indent, sample), `${indent}{{- end }}`];
  }
  if (isRef(value)) {
    if (!isStructure(sampleOf(value, sample))) return [`${name} ${refText(value, sample)}`];
    const nested = `${indent}${STEP}{{- toYaml ${helmValue(value)} | nindent ${indent.length + STEP.length} }}`;
    return [name, nested];
  }
  if (value instanceof YamlText) {
    const nested = `${indent}${STEP}{{- toYaml ${helmValue(value.source)} | nindent ${indent.length + STEP.length} }}`;
    return [`${name} |-`, nested];
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return [`${name} []`];
    return [name, ...value.flatMap((element) => elementLines(element, `${indent}${STEP}`, sample))];
  }
  if (isMapNode(value)) {
    const isEmpty = Object.keys(value).length === 0 && !(ENTRIES in value);
    return isEmpty ? [`${name} {}`] : [name, ...mapLines(value, `${indent}${STEP}`, sample)];
  }
  return [`${name} ${leafText(value, sample)}`];
}

function elementLines(element: unknown, indent: string, sample: Sample): string[] {
  if (element instanceof When) {
    const { condition, content } = element as When<unknown>;
    const inner = (Array.isArray(content) ? content : [content]).flatMap((one) => elementLines(one, indent, sample));
    return [`${indent}${helmCondition(condition)}`, ...inner, `${indent}{{- end }}`];
  }
  if (element instanceof ListPart) return listPartLines(element, indent);
  if (!isMapNode(element)) return [`${indent}- ${leafText(element, sample)}`];
  // The first line that is an entry, not an instruction, carries the dash.
  const lines = mapLines(element, `${indent}${STEP}`, sample);
  const first = lines.findIndex((line) => !line.trimStart().startsWith('{{-'));
  return lines.map((line, index) => (index === first ? `${indent}- ${line.slice(indent.length + STEP.length)}` : line));
}

function listPartLines({ source, form }: ListPart, indent: string): string[] {
  const value = helmValue(source);
  if (form === 'elements') {
    return [
      `${indent}{{- with ${value} }}`,
      `${indent}{{- toYaml . | nindent ${indent.length} }}`,
      `${indent}{{- end }}`,
    ];
  }
  if (form === 'names') {
    return [`${indent}{{- range $name := ${value} }}`, `${indent}- name: {{ $name | quote }}`, `${indent}{{- end }}`];
  }
  return [
    `${indent}{{- range $name, $text := ${value} }}`,
    `${indent}- name: {{ $name }}`,
    `${indent}${STEP}value: {{ $text | quote }}`,
    `${indent}{{- end }}`,
  ];
}

function leafText(value: unknown, sample: Sample): string {
  if (isRef(value)) return refText(value, sample);
  if (value instanceof TextNode) {
    const parts = value.strings.map((string, index) => {
      const part = value.parts[index];
      return escaped(string) + (part === undefined ? '' : `{{ ${expressionText(part)} }}`);
    });
    return `"${parts.join('')}"`;
  }
  if (value instanceof FirstOf) return `{{ ${expressionText(value)} | quote }}`;
  if (value instanceof Namespace) return '{{ $.Release.Namespace }}';
  if (value instanceof Joined) return `{{ join "," ${helmValue(value.source)} | quote }}`;
  return scalarText(value);
}

function refText(ref: Ref<unknown>, sample: Sample): string {
  const isText = typeof sampleOf(ref, sample) === 'string';
  return `{{ ${defaulted(ref)}${isText ? ' | quote' : ''} }}`;
}

function expressionText(part: Ref<unknown> | FirstOf | Namespace): string {
  if (part instanceof FirstOf) return `${helmValue(part.preferred)} | default ${defaulted(part.otherwise)}`;
  if (part instanceof Namespace) return '$.Release.Namespace';
  return defaulted(part);
}

/** The version of the images is that of the chart unless it is chosen. */
function defaulted(ref: Ref<unknown>): string {
  const value = helmValue(ref);
  return value === '$.Values.global.tag' ? `(${value} | default $.Chart.AppVersion)` : value;
}

function scalarText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return PLAIN.test(value) && !RESERVED.test(value) ? value : `"${escaped(value)}"`;
}

/** Inside double quotes; what looks like an instruction of a template is printed by one. */
function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1).replaceAll(/\{\{/g, '{{ "{{" }}');
}

function sampleOf(ref: Ref<unknown>, sample: Sample): unknown {
  const { root, steps } = pathOf(ref);
  let value: unknown = root === 'values' ? sample.values : sample.item;
  for (const step of steps) value = (value as Readonly<Record<string, unknown>> | undefined)?.[step];
  return value;
}

function isStructure(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function isMapNode(value: unknown): value is object {
  if (!isStructure(value) || Array.isArray(value) || isRef(value)) return false;
  return ![TextNode, FirstOf, Namespace, Joined, YamlText, When, ListPart].some((type) => value instanceof type);
}
