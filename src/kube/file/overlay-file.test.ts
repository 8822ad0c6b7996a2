import test from 'ava';
import fc from 'fast-check';
import { objectPath, overlayPath, parseOverlay } from './overlay-file.ts';

const segment = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9:._-]{0,20}$/);
const key = fc.record({ kind: segment, namespace: fc.oneof(fc.constant(''), segment), name: segment });

test('an overlay read back is for the object it was written for', (t) => {
  fc.assert(
    fc.property(segment, key, (manager, one) => {
      const read = parseOverlay(overlayPath(manager, one), JSON.stringify({ uid: 'u', patch: { a: 1 } }));
      t.deepEqual(read, { manager, key: one, uid: 'u', patch: { a: 1 } });
    }),
  );
});

test('no name leaves the folder', (t) => {
  for (const name of ['..', '../x', 'a/b', '', '.', '.hidden', 'a\0']) {
    t.throws(() => objectPath({ kind: 'Pod.core', namespace: 'a', name }), { code: 'ERR_MALFORMED' });
    t.throws(() => overlayPath(name, { kind: 'Pod.core', namespace: 'a', name: 'x' }), { code: 'ERR_MALFORMED' });
  }
});

test('whatever stands in the file, the answer is an overlay or a reason', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), fc.string(), (text, path) => {
      const read = parseOverlay(`.overlay/m/Pod.core/a/${path}.json`, text);
      t.true(typeof read === 'string' || typeof read.uid === 'string');
    }),
  );
});
