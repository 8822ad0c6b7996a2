import test, { type ExecutionContext } from 'ava';
import type { Clock } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { silentLogger } from '../core/logger.ts';
import { type Identity, identityUri } from '../model/identity.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { CertificateCache } from './certificate-cache.ts';
import type { CertificateSource } from './certificate-source.ts';
import { PrivateKey } from './private-key.ts';
import { failureBackoffMs, renewalDelayMs } from './renewal.ts';
import { Svid } from './svid.ts';

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 0, 1);

/** Moves by hand; sleepers wake in order of their time. */
class HandClock implements Clock {
  #nowMs = 0;
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  nowMs = (): number => START_MS + this.#nowMs;
  monotonicMs = (): number => this.#nowMs;
  sleep = (delayMs: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const sleeper = { atMs: this.#nowMs + delayMs, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        reject(new MeshError('ERR_ABORTED', 'gave up'));
      });
    });
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#sleepers].filter((s) => s.atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
      if (!next) break;
      this.#sleepers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}
/** Lets everything run that waits for no clock. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

interface Call {
  readonly identity: string;
  finish(error?: Error): Promise<void>;
}

/** A source whose calls end when the test says so; with `automatic` at once. */
async function setUp(t: ExecutionContext, parts: { concurrency?: number; automatic?: boolean } = {}) {
  const clock = new HandClock();
  const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock });
  const key = await PrivateKey.generate();
  const calls: Call[] = [];
  const control = { failing: false };
  const source: CertificateSource = {
    async fetch(identity) {
      const gate = Promise.withResolvers<void>();
      calls.push({
        identity: identity.serviceAccount,
        async finish(error) {
          if (error) gate.reject(error);
          else gate.resolve();
          await settle();
        },
      });
      if (control.failing) throw new MeshError('ERR_CA', 'the authority is away');
      if (!parts.automatic) await gate.promise;
      return Svid.parse(identity, key, authority.issue(key.publicKeyDer, [identityUri(identity)], 7_200));
    },
  };
  const changed: string[] = [];
  const cache = new CertificateCache({
    source,
    clock,
    log: silentLogger,
    random: () => 0.5,
    concurrency: parts.concurrency ?? 8,
    onChange: (svid) => changed.push(svid.version),
  });
  t.teardown(() => cache[Symbol.asyncDispose]());
  return { cache, clock, calls, control, changed };
}
const id = (serviceAccount: string): Identity => ({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount });
const names = (calls: readonly Call[]) => calls.map((call) => call.identity);

test('several askers share one request and one certificate', async (t) => {
  const { cache, calls } = await setUp(t);
  const asked = [1, 2, 3, 4].map(() => cache.get(id('a')));
  await settle();
  t.is(calls.length, 1);
  await calls[0]?.finish();
  const svids = await Promise.all(asked);
  t.true(svids.every((svid) => svid === svids[0]));
  t.is(svids[0]?.identity.serviceAccount, 'a');
});

test('no more requests than allowed are under way, and the urgent ones go first', async (t) => {
  const { cache, calls } = await setUp(t, { concurrency: 1 });
  cache.prefetch(id('first'));
  cache.prefetch(id('warm'));
  cache.prefetch(id('raised'));
  const urgent = cache.get(id('urgent'));
  const raised = cache.get(id('raised'));
  for (let i = 0; i < 4; i += 1) {
    t.is(calls.length, i + 1);
    await calls[i]?.finish();
  }
  await Promise.all([urgent, raised]);
  t.deepEqual(names(calls), ['first', 'raised', 'urgent', 'warm']);
});

test('a certificate is renewed at half its life and served meanwhile', async (t) => {
  const { cache, clock, calls, changed } = await setUp(t, { automatic: true });
  const first = await cache.get(id('a'));
  await clock.advance(0.4 * HOUR_MS * 2);
  t.is(calls.length, 1);
  await clock.advance(0.1 * HOUR_MS * 2);
  t.is(calls.length, 2);
  const second = await cache.get(id('a'));
  t.not(second.version, first.version);
  t.true(second.notBeforeMs > first.notBeforeMs);
  t.is(changed.length, 2);
});

test('while renewal fails the old certificate is served until it ends', async (t) => {
  const { cache, clock, control } = await setUp(t, { automatic: true });
  const first = await cache.get(id('a'));
  control.failing = true;
  await clock.advance(1.9 * HOUR_MS);
  t.is((await cache.get(id('a'))).version, first.version);
  t.is(cache.status()[0]?.state, 'Available');
  await clock.advance(0.2 * HOUR_MS);
  await t.throwsAsync(cache.get(id('a')), { code: 'ERR_IDENTITY', message: /away/ });
  t.like(cache.status()[0], { state: 'Unavailable', error: 'the authority is away' });
  control.failing = false;
  await clock.advance(150_000);
  t.not((await cache.get(id('a'))).version, first.version);
});

test('a failure is remembered: askers get it at once until the retry', async (t) => {
  const { cache, clock, calls, control } = await setUp(t, { automatic: true });
  control.failing = true;
  await t.throwsAsync(cache.get(id('a')), { code: 'ERR_IDENTITY' });
  control.failing = false;
  await t.throwsAsync(cache.get(id('a')), { code: 'ERR_IDENTITY' });
  t.is(calls.length, 1);
  await clock.advance(1_200);
  t.is(calls.length, 2);
  t.is((await cache.get(id('a'))).identity.serviceAccount, 'a');
});

test('failed identities are tried at once when the authority is back', async (t) => {
  const { cache, clock, calls, control } = await setUp(t, { automatic: true });
  control.failing = true;
  await t.throwsAsync(cache.get(id('a')));
  await clock.advance(600_000);
  control.failing = false;
  const before = calls.length;
  cache.retryFailed();
  await settle();
  t.is(calls.length, before + 1);
  await t.notThrowsAsync(cache.get(id('a')));
});

test('who waits for a forgotten identity is told', async (t) => {
  const { cache, calls } = await setUp(t);
  const waiting = cache.get(id('a'));
  const refusal = t.throwsAsync(waiting, { code: 'ERR_IDENTITY', message: /forgotten/ });
  await settle();
  cache.forget(id('a'));
  await refusal;
  await calls[0]?.finish();
  t.is(cache.find(id('a')), undefined);
  t.deepEqual(cache.status(), []);
});

test('who gives up does not stop the request', async (t) => {
  const { cache, calls } = await setUp(t);
  const stop = new AbortController();
  const waiting = cache.get(id('a'), stop.signal);
  stop.abort();
  await t.throwsAsync(waiting, { code: 'ERR_IDENTITY' });
  await calls[0]?.finish();
  t.truthy(cache.find(id('a')));
});

test('many askers of many identities end with one entry each', async (t) => {
  const { cache, calls } = await setUp(t, { automatic: true });
  const wanted = Array.from({ length: 100 }, (_, i) => id(`a${i}`));
  await Promise.all(Array.from({ length: 8 }, () => wanted.map((identity) => cache.get(identity))).flat());
  t.is(cache.status().length, 100);
  t.is(calls.length, 100);
  t.deepEqual(
    cache.status().map(({ identity }) => identityUri(identity)),
    wanted.map(identityUri).sort(),
  );
});

test('before the first answer the state is Initializing', async (t) => {
  const { cache, calls } = await setUp(t);
  cache.prefetch(id('a'));
  t.is(cache.status()[0]?.state, 'Initializing');
  await settle();
  await calls[0]?.finish();
});

test('a closed cache refuses and ends', async (t) => {
  const { cache, calls } = await setUp(t);
  const waiting = t.throwsAsync(cache.get(id('a')), { code: 'ERR_IDENTITY' });
  await settle();
  const closed = cache[Symbol.asyncDispose]();
  await waiting;
  await calls[0]?.finish();
  await closed;
  await t.throwsAsync(cache.get(id('b')), { code: 'ERR_IDENTITY' });
});

test('renewal is due at half the life, a little earlier by chance, at once when late', (t) => {
  const svid = { notBeforeMs: 0, notAfterMs: 1_000 };
  t.is(renewalDelayMs(svid, 0, 0), 500);
  t.is(renewalDelayMs(svid, 100, 0.5), 350);
  t.is(renewalDelayMs(svid, 2_000, 0), 0);
});
test('failures wait twice as long each time, up to 150 s', (t) => {
  t.deepEqual(
    [1, 2, 3, 8, 9, 50].map((n) => failureBackoffMs(n, 0.5)),
    [1_000, 2_000, 4_000, 128_000, 150_000, 150_000],
  );
  t.is(failureBackoffMs(1, 0), 800);
});
