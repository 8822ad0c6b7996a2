/** What the engine holds for one owner (a pod): its namespace, its listeners and its pool of sessions. */
import type { Netns } from 'culvert-netns';
import type { EngineListener } from './port.ts';

/** The sessions that were opened for an owner. */
export interface ScopePool {
  /** Number of open sessions. */
  readonly size: number;
  /** Opens no session any more and ends every one at once, its streams included. */
  destroy(): void;
}

export class OwnerScope<P extends ScopePool> {
  readonly name: string;
  readonly netns: Netns | undefined;
  readonly pool: P;
  readonly listeners = new Set<EngineListener>();
  /** Its peers are told to go elsewhere; set by `close`. */
  isLeaving = false;

  /** Takes a duplicate of `netns`. */
  constructor(name: string, netns: Netns | undefined, makePool: (netns: Netns | undefined) => P) {
    this.name = name;
    this.netns = netns?.duplicate();
    this.pool = makePool(this.netns);
  }

  /**
   * No new connection is accepted. What was accepted before goes on, also when it has no decision or no next hop yet: the
   * pool still opens sessions for it.
   */
  async close(): Promise<void> {
    this.isLeaving = true;
    await Promise.all([...this.listeners].map((listener) => listener.close()));
  }

  /** Gives everything back. The owner's connections have ended. */
  release(): void {
    this.pool.destroy();
    this.netns?.[Symbol.dispose]();
  }
}
