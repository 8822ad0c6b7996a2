import test from 'ava';
import fc from 'fast-check';
import { HeaderList } from '../http/header-list.ts';
import { limitEntries } from './limit-keys.ts';
import { TokenBuckets } from './token-buckets.ts';

test('a burst passes at once, then as many as are filled in', (t) => {
  let nowMs = 0;
  const buckets = new TokenBuckets(() => nowMs);
  const bucket = { requests: 2, intervalMs: 1_000, burst: 3 };
  const take = (key = 'a') => buckets.take(key, bucket);
  t.deepEqual(
    [take(), take(), take()].map(({ allowed, remaining }) => [allowed, remaining]),
    [
      [true, 2],
      [true, 1],
      [true, 0],
    ],
  );
  t.deepEqual(take(), { allowed: false, remaining: 0, resetMs: 500 });
  t.true(take('b').allowed, 'others have a bucket of their own');
  nowMs = 500;
  t.true(take().allowed);
  t.false(take().allowed);
});

test('property: in any time no more pass than the burst and what the time fills in', (t) => {
  fc.assert(
    fc.property(
      fc.record({ requests: fc.integer({ min: 1, max: 20 }), burst: fc.integer({ min: 1, max: 20 }) }),
      fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 }),
      ({ requests, burst }, waits) => {
        let nowMs = 0;
        const buckets = new TokenBuckets(() => nowMs);
        let passed = 0;
        for (const wait of waits) {
          nowMs += wait;
          if (buckets.take('k', { requests, intervalMs: 1_000, burst }).allowed) passed += 1;
        }
        return passed <= burst + (nowMs * requests) / 1_000 + 1e-6;
      },
    ),
  );
  t.pass();
});

test('a request without one of the keys is not limited by them', (t) => {
  const identity = { trustDomain: 'td', namespace: 'shop', serviceAccount: 'front' };
  const client = {
    identity,
    principal: 'td/ns/shop/sa/front',
    ip: '10.0.0.1',
    port: 1,
    destinationIp: '',
    destinationPort: 80,
  };
  const exchange = {
    client,
    headers: new HeaderList(['x-user', 'bob']),
    method: 'GET',
    path: '/a',
    route: undefined,
    metadata: new Map<string, unknown>([
      [
        'jwt',
        { issuer: 'i', subject: 's', audiences: [], presenter: '', claims: { org: { id: 7 } }, spaceDelimited: [] },
      ],
    ]),
  };
  const entries = limitEntries(
    [
      { kind: 'HEADER', name: 'x-user' },
      { kind: 'CLAIM', name: 'org.id' },
      { kind: 'SOURCE_IDENTITY', name: '' },
    ],
    exchange,
  );
  t.deepEqual(entries, [
    { key: 'x-user', value: 'bob' },
    { key: 'org.id', value: '7' },
    { key: 'source_identity', value: 'td/ns/shop/sa/front' },
  ]);
  t.is(limitEntries([{ kind: 'ROUTE', name: '' }], exchange), undefined);
});
