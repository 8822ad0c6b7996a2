import test from 'ava';
import fc from 'fast-check';
import { LineSplitter } from './line-splitter.ts';

test('lines do not depend on how the bytes were cut', (t) => {
  const line = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\n'));
  const cuts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(line), cuts, (lines, sizes) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = new LineSplitter();
      const found: string[] = [];
      for (let at = 0, cut = 0; at < bytes.length; cut += 1) {
        const size = sizes[cut % sizes.length] ?? 1;
        found.push(...splitter.push(bytes.subarray(at, at + size)));
        at += size;
      }
      t.deepEqual(found, lines);
    }),
  );
});

test('empty lines are left out, an unfinished one waits', (t) => {
  const splitter = new LineSplitter();
  t.deepEqual(splitter.push(Buffer.from('a\n\n\nb')), ['a']);
  t.deepEqual(splitter.push(Buffer.from('c\n')), ['bc']);
});

test('a line without end is refused', (t) => {
  const splitter = new LineSplitter();
  const chunk = Buffer.alloc(4 * 1024 * 1024, 'x');
  for (let index = 0; index < 4; index += 1) splitter.push(chunk);
  t.throws(() => splitter.push(chunk), { code: 'ERR_LIMIT' });
});
