/**
 * What runs for every chunk of a connection, read from the source: it makes no function or object, logs nothing and
 * looks no label up. Chunks are seen in two places only, so that is all there is to read: where a connection is joined,
 * and where the bytes of a tunnel become a stream of our own.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import ts from 'typescript';

const FOLDER = import.meta.dirname;
/** What may be called for a chunk, and the functions of the same file that are read as well. */
const CALLS = new Set([
  ...['to.write', 'from.pause', 'from.resume', 'socket.cork', 'corked.push', 'setImmediate'],
  ...['this.push', 'stream.pause'],
]);
const PLACES = ['tunnel-duplex.ts', 'pump.ts'];
const MAKES = new Set([
  ts.SyntaxKind.ArrowFunction,
  ts.SyntaxKind.FunctionExpression,
  ts.SyntaxKind.NewExpression,
  ts.SyntaxKind.ObjectLiteralExpression,
  ts.SyntaxKind.ArrayLiteralExpression,
  ts.SyntaxKind.TemplateExpression,
  ts.SyntaxKind.AwaitExpression,
]);

/** What is wrong with the listeners of `data` and `drain` in a source; undefined when it has none. */
function perChunkFaults(text: string): readonly string[] | undefined {
  const file = ts.createSourceFile('pump.ts', text, ts.ScriptTarget.Latest, true);
  const functions = new Map<string, ts.Node>();
  const listeners: ts.Node[] = [];
  const find = (node: ts.Node): void => {
    if (ts.isFunctionDeclaration(node) && node.name && node.body) functions.set(node.name.text, node.body);
    if (ts.isCallExpression(node) && /\.(on|addListener|prependListener)$/.test(node.expression.getText())) {
      const [event, listener] = node.arguments;
      const isChunk = event !== undefined && ts.isStringLiteral(event) && ['data', 'drain'].includes(event.text);
      if (isChunk && listener && ts.isArrowFunction(listener)) listeners.push(listener.body);
    }
    ts.forEachChild(node, find);
  };
  find(file);
  const faults: string[] = [];
  const read = new Set<ts.Node>();
  const walk = (node: ts.Node): void => {
    if (MAKES.has(node.kind)) faults.push(`${ts.SyntaxKind[node.kind]}: ${node.getText()}`);
    if (ts.isCallExpression(node)) {
      const called = node.expression.getText();
      const body = functions.get(called);
      if (body && !read.has(body)) {
        read.add(body);
        walk(body);
      } else if (!body && !CALLS.has(called)) faults.push(`call: ${called}`);
    }
    ts.forEachChild(node, walk);
  };
  for (const listener of listeners) walk(listener);
  return listeners.length === 0 ? undefined : faults;
}

for (const place of PLACES) {
  test(`${place}: nothing is made, logged or looked up for a chunk`, (t) => {
    t.deepEqual(perChunkFaults(readFileSync(join(FOLDER, place), 'utf8')), []);
  });
}

test('chunks are seen nowhere else', (t) => {
  const elsewhere = globSync(['*.ts', '../*.ts'], { cwd: FOLDER })
    .filter((file) => !file.endsWith('.test.ts') && !PLACES.includes(file))
    .filter((file) =>
      /\.on\('data'|\.pipe\(|pipeline\(|_transform|_write\b/.test(readFileSync(join(FOLDER, file), 'utf8')),
    );
  t.deepEqual(elsewhere, []);
});

test('control: a closure, an object, a log line and a lookup for a chunk are found', (t) => {
  const source = `export function pump(from, to, log, labels) {
    from.on('data', (chunk) => { note(chunk); to.write(chunk, () => {}); log.info('x'); });
  }
  function note(chunk) { labels.get({ size: chunk.length }); }`;
  const faults = perChunkFaults(source) ?? [];
  for (const fault of [/call: labels\.get/, /ObjectLiteral/, /ArrowFunction/, /call: log\.info/]) {
    t.true(
      faults.some((text) => fault.test(text)),
      `${fault}`,
    );
  }
});
