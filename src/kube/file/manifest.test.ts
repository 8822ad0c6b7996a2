import test from 'ava';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { parseManifest } from './manifest.ts';

const unchecked = () => [];
const read = (text: string, file = 'x.yaml') => parseManifest(file, text, unchecked);

const reports = test.macro((t, text: string, line: number, reason: RegExp) => {
  const { problems, objects } = read(text);
  t.is(objects.length, 0);
  t.is(problems[0]?.line, line);
  t.regex(problems[0]?.reason ?? '', reason);
});
test('a tab as indentation is named with its line', reports, 'a:\n\tb: 1\n', 2, /[Tt]ab/);
test('a key given twice is named with its line', reports, 'a: 1\nb: 2\na: 3\n', 3, /unique/);
test('an object without a kind', reports, 'apiVersion: v1\nmetadata: {name: x}\n', 1, /kind/);
test('an object without a name', reports, 'apiVersion: v1\nkind: Pod\n', 1, /metadata\.name/);
test('a name that leaves the folder', reports, 'apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}\n', 1, /name/);
test(
  'a label that is no text',
  reports,
  'apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a: 1}}\n',
  1,
  /quote it/,
);
test('an apiVersion of three parts', reports, 'apiVersion: a/b/c\nkind: Pod\nmetadata: {name: x}\n', 1, /apiVersion/);

test('YAML that grows without bound is refused', (t) => {
  let text = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n';
  for (let level = 1; level < 9; level += 1) {
    const above = `*a${level - 1}`;
    text += `a${level}: &a${level} [${Array.from({ length: 9 }, () => above).join(', ')}]\n`;
  }
  t.true(read(text).broken);
});

test('the line of a fault is that of the field inside a list', (t) => {
  const text =
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: x\n  spec:\n    a: 1\n';
  const { problems } = parseManifest('x.yaml', text, () => [{ path: ['spec', 'a'], reason: 'bad' }]);
  t.deepEqual(problems[0], {
    file: 'x.yaml',
    line: 9,
    reason: 'Pod x: spec.a: bad',
    object: { kind: 'Pod.core', namespace: 'default', name: 'x' },
  });
});

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const object = fc.record({
  apiVersion: fc.constantFrom('v1', 'apps/v1', 'security.istio.io/v1'),
  kind: fc.constantFrom('Pod', 'Namespace', 'Thing'),
  metadata: fc.record({ name, labels: fc.dictionary(name, fc.string()) }),
  spec: fc.jsonValue(),
});

test('objects survive being written as YAML documents, as a list and as JSON', (t) => {
  fc.assert(
    fc.property(fc.array(object, { maxLength: 4 }), (objects) => {
      const plain = JSON.parse(JSON.stringify(objects)) as unknown[];
      const documents = read(objects.map((one) => stringify(one)).join('---\n'));
      t.deepEqual(JSON.parse(JSON.stringify(documents.objects.map((one) => one.object))), plain);
      const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
      t.deepEqual(JSON.parse(JSON.stringify(read(list, 'x.json').objects.map((one) => one.object))), plain);
    }),
    { numRuns: 50 },
  );
});

test('any text gives a manifest', (t) => {
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.stringMatching(/^[-{}[\]:,&*! \n#a]{0,60}$/),
  );
  fc.assert(
    fc.property(texts, fc.constantFrom('x.yaml', 'x.json'), (text, file) => {
      const { problems } = parseManifest(file, text);
      for (const problem of problems) t.true(problem.line >= 1);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('a manifest cut anywhere is broken, or holds only objects of the whole', (t) => {
  const whole = stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'aa' } });
  const text = `${whole}---\n${whole.replace('aa', 'bb')}`;
  for (let end = 0; end <= text.length; end += 1) {
    const { objects } = read(text.slice(0, end));
    t.true(
      objects.every((one) => /^(a|aa|b|bb)$/.test(one.object.metadata.name)),
      text.slice(0, end),
    );
  }
});
