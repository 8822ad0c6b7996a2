import test from 'ava';
import fc from 'fast-check';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { TransferBudget } from './transfer-budget.ts';

const MB = 1024 * 1024;

test('what is under way together is bounded, and all have their turn in order', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 40 }), (sizes) => {
      const budget = new TransferBudget(new ManualClock());
      const under = new Map<number, Disposable>();
      const order: number[] = [];
      for (const [index, size] of sizes.entries()) {
        budget.ask(size * MB, (permit) => {
          under.set(index, permit);
          order.push(index);
        });
      }
      while (under.size > 0) {
        const total = [...under.keys()].reduce((sum, index) => sum + (sizes[index] ?? 0), 0);
        if (under.size > 1) t.true(total <= 32);
        const [first] = under;
        if (first) under.delete(first[0]);
        first?.[1][Symbol.dispose]();
      }
      t.deepEqual(order, [...sizes.keys()]);
    }),
  );
});

test('who gives up no longer waits, and who takes nothing holds up nobody for long', async (t) => {
  const clock = new ManualClock();
  const budget = new TransferBudget(clock);
  const went: string[] = [];
  budget.ask(32 * MB, () => went.push('stuck'));
  const gaveUp = budget.ask(10 * MB, () => went.push('gave up'));
  budget.ask(10 * MB, () => went.push('next'));
  gaveUp[Symbol.dispose]();
  t.deepEqual(went, ['stuck']);
  await clock.advance(5_000);
  t.deepEqual(went, ['stuck', 'next']);
});
