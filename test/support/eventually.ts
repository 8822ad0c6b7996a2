import { setTimeout as delay } from 'node:timers/promises';

/** Resolves as soon as `condition` holds; rejects at the deadline, saying what was awaited. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what = 'the condition',
  deadlineMs = 20_000,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`${what} did not hold within ${deadlineMs} ms`);
    await delay(2);
  }
}
