import test from 'ava';
import fc from 'fast-check';
import { parse } from 'yaml';
import { evaluate, type Filling } from './evaluate.ts';
import {
  ENTRIES,
  elementsOf,
  environmentOf,
  firstOf,
  joined,
  NAMESPACE,
  namesOf,
  refs,
  text,
  when,
  whenSet,
  yamlText,
} from './expression.ts';
import { helmDocument } from './helm-text.ts';

const SAMPLE = {
  ...{ name: 'x', other: '', count: 0, on: true, off: false, names: ['a', 'b'], none: [] as string[] },
  ...{ map: { k: 'v', a: '1' }, empty: {} as Record<string, string>, objects: [{ key: 'q' }] as object[] },
};
const values = refs<typeof SAMPLE>();
const filling: Filling = { values: SAMPLE, namespace: 'ns', served: new Set(['g/v1']) };
const gives = test.macro((t, node: object, expected: unknown) => t.deepEqual(evaluate(node, filling), expected));

test(
  'values, text and the namespace',
  gives,
  { a: values.name, b: text`${values.name}.${NAMESPACE}:${values.count}` },
  { a: 'x', b: 'x.ns:0' },
);
test('the first of two that is not empty', gives, { a: firstOf(values.other, values.name) }, { a: 'x' });
test(
  'what is empty is left out',
  gives,
  { a: whenSet(values.empty), b: whenSet(values.count), c: whenSet(values.on) },
  { c: true },
);
test(
  'lists',
  gives,
  { a: ['z', ...[elementsOf(values.names)]], b: [namesOf(values.names)] },
  { a: ['z', 'a', 'b'], b: [{ name: 'a' }, { name: 'b' }] },
);
test(
  'maps as environment, in the order of names',
  gives,
  { env: [environmentOf(values.map)] },
  {
    env: [
      { name: 'a', value: '1' },
      { name: 'k', value: 'v' },
    ],
  },
);
test('entries of a map beside others', gives, { a: 1, [ENTRIES]: values.map }, { a: '1', k: 'v' });
test(
  'joined, and as YAML',
  gives,
  { a: joined(values.names), b: yamlText(values.map) },
  { a: 'a,b', b: 'a: "1"\nk: v' },
);
test(
  'conditions',
  gives,
  {
    a: when({ all: [values.on, { not: values.off }] }, 1),
    b: when({ any: [values.off, { served: 'g/v2' }] }, 1),
    c: when({ served: 'g/v1' }, 1),
    d: [when(values.off, 1), when(values.on, [2, 3])],
  },
  { a: 1, c: 1, d: [2, 3] },
);

test('as templates of Helm', (t) => {
  const manifest = {
    image: text`${firstOf(values.other, values.name)}:${values.count}`,
    labels: { app: 'x', [ENTRIES]: values.map },
    count: values.count,
    list: [when(values.on, { name: 'one', deep: { a: 1 } }), environmentOf(values.map)],
    optional: whenSet(values.empty),
    braces: '{{ not a template }}',
    yes: 'yes',
  };
  t.is(
    helmDocument(manifest, { values: SAMPLE, item: {} }),
    `image: "{{ $.Values.other | default $.Values.name }}:{{ $.Values.count }}"
labels:
  app: x
  {{- with $.Values.map }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
count: {{ $.Values.count }}
list:
  {{- if $.Values.on }}
  - name: one
    deep:
      a: 1
  {{- end }}
  {{- range $name, $text := $.Values.map }}
  - name: {{ $name }}
    value: {{ $text | quote }}
  {{- end }}
{{- if $.Values.empty }}
optional:
  {{- toYaml $.Values.empty | nindent 2 }}
{{- end }}
braces: "{{ "{{" }} not a template }}"
"yes": "yes"
`,
  );
});

test('data without expressions is printed as YAML that means the same', (t) => {
  const key = fc.string({ minLength: 1 }).filter((name) => name !== '__proto__' && !name.includes('{{'));
  const data = fc.letrec((tie) => ({
    node: fc.oneof({ maxDepth: 4 }, tie('leaf'), tie('map'), fc.array(tie('map'), { maxLength: 3 })),
    leaf: fc.oneof(
      fc.string().filter((value) => !value.includes('{{')),
      fc.integer(),
      fc.boolean(),
    ),
    map: fc.dictionary(key, tie('node'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  })).map;
  fc.assert(
    fc.property(data, (map) => {
      t.deepEqual(parse(helmDocument(map as object, { values: {}, item: {} })), map);
    }),
  );
});
