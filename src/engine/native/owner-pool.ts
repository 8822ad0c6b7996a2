/** What the threads hold for one owner: its namespace, and the sessions that they opened for it. */
import type { Netns } from 'culvert-netns';
import type { ScopePool } from '../owner-scope.ts';
import type { OwnerHandle } from './addon.ts';
import type { EngineThreads } from './engine-threads.ts';
import type { NativeSession } from './native-session.ts';

export class OwnerPool implements ScopePool {
  readonly handle: OwnerHandle;
  /** As the threads tell it. */
  readonly id: number;
  readonly #threads: EngineThreads;
  readonly #sessions = new Set<NativeSession>();
  readonly #onDestroyed: (id: number) => void;

  /** The threads take a duplicate of `netns`. */
  constructor(threads: EngineThreads, netns: Netns | undefined, onDestroyed: (id: number) => void) {
    this.#onDestroyed = onDestroyed;
    this.#threads = threads;
    this.handle = threads.addOwner(netns?.fd);
    this.id = threads.addon.ownerId(this.handle);
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Until the session closes. */
  add(session: NativeSession): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
  }

  destroy(): void {
    this.#threads.drainOwner(this.handle);
    for (const session of this.#sessions) session.destroy();
    this.#threads.forgetOwner(this.handle);
    this.#onDestroyed(this.id);
  }
}
