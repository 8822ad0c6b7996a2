/**
 * Why the agent is asked to end: another one follows (restart, upgrade, a node that shuts down), or the mesh leaves the
 * cluster. Only in the second case capture, plugin and rules are taken away.
 *
 * The agent's DaemonSet tells: gone, going, or no longer to be read by an account whose rights went with it. Without any
 * answer everything stays: a pod that was promised encryption is not sent to the clear by an outage of the API server.
 * Source: Istio node agent, upgrade or removal; it removes in the last case.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';

export type DaemonSetAnswer = 'present' | 'leaving' | 'absent' | 'refused';
export type Departure = 'restart' | 'removal';

export interface DepartureDeps {
  /** Rejects when there is no answer. */
  readonly ask: () => Promise<DaemonSetAnswer>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A part of the pod's grace period; what follows needs the rest. */
const TRIES = 5;
const RETRY_MS = 1_000;

/** Never rejects. */
export async function findDeparture({ ask, clock, log }: DepartureDeps): Promise<Departure> {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    try {
      const answer = await ask();
      const departure = answer === 'present' ? 'restart' : 'removal';
      log.info('the agent ends', { departure, daemonSet: answer });
      return departure;
    } catch (error) {
      log.warn('the agent cannot learn why it ends', { attempt, error: errorMessage(error) });
      if (attempt < TRIES) await clock.sleep(RETRY_MS);
    }
  }
  log.warn('capture stays in place', { hint: 'if the mesh is gone for good, restart the pods of this node' });
  return 'restart';
}
