import test from 'ava';
import fc from 'fast-check';
import { BlockIndex, covers, parseAddressKey, parseBlockKey } from './address-block.ts';

const covering = test.macro((t, blocks: readonly string[], key: string, expected: readonly string[]) => {
  const index = new BlockIndex();
  for (const block of blocks) index.add(block);
  t.deepEqual([...index.covering(key)].sort(), expected);
  for (const block of blocks) index.remove(block);
  t.deepEqual(index.covering(key), []);
});

test('an address in a block', covering, ['n/10.5.0.0/16'], 'n/10.5.3.7', ['n/10.5.0.0/16']);
test('an address beside it', covering, ['n/10.5.0.0/16'], 'n/10.6.3.7', []);
test('another network', covering, ['n/10.5.0.0/16'], '/10.5.3.7', []);
test('blocks in blocks', covering, ['/10.0.0.0/8', '/10.5.0.0/16', '/10.6.0.0/16'], '/10.5.3.7', [
  '/10.0.0.0/8',
  '/10.5.0.0/16',
]);
test('a block written with bits behind its length', covering, ['/10.5.9.9/16'], '/10.5.3.7', ['/10.5.9.9/16']);
test('one block written twice', covering, ['/10.5.9.9/16', '/10.5.0.0/16'], '/10.5.3.7', [
  '/10.5.0.0/16',
  '/10.5.9.9/16',
]);
test('everything', covering, ['/0.0.0.0/0'], '/10.5.3.7', ['/0.0.0.0/0']);
test('IPv6', covering, ['/fd00::/64', '/0.0.0.0/0'], '/fd00::1', ['/fd00::/64']);
test('a name is no address', covering, ['/0.0.0.0/0'], 'Kubernetes//Pod/shop/cart', []);
test('what is no block is left out', covering, ['shop/cart.shop.svc', '/10.0.0.1', '/10.0.0.0/33'], '/10.0.0.1', []);

test('the index answers what asking each block answers', (t) => {
  const octet = fc.integer({ min: 0, max: 3 });
  const ip = fc.tuple(octet, octet).map(([a, b]) => `10.0.${a}.${b}`);
  const block = fc
    .tuple(fc.constantFrom('', 'n'), ip, fc.integer({ min: 20, max: 32 }))
    .map((parts) => parts.join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(block), ip, (blocks, address) => {
      const index = new BlockIndex();
      for (const one of blocks) index.add(one);
      const key = parseAddressKey(`n/${address}`);
      const expected = blocks.filter((one) => {
        const parsed = parseBlockKey(one);
        return key && parsed && covers(parsed, key);
      });
      t.deepEqual([...index.covering(`n/${address}`)].sort(), expected.sort());
    }),
  );
});
