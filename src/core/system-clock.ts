import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from './clock.ts';
import { MeshError } from './errors.ts';

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(delayMs, signal) {
    try {
      await delay(delayMs, undefined, signal ? { signal } : {});
    } catch (cause) {
      throw new MeshError('ERR_ABORTED', 'the wait was given up', { cause });
    }
  },
};
