/** What the engine holds for one owner (a pod): its namespace, its listeners and its pool of sessions. */
import type { Netns } from 'culvert-netns';
import type { EngineListener } from './port.ts';

/** The sessions that were opened for an owner. */
export interface ScopePool {
  /** Number of open sessions. */
  readonly size: number;
  /** Closes what is idle and refuses what is new. Idempotent. */
  drain(): void;
  /** Ends every session at once, its streams included. */
  destroy(): void;
}

export class OwnerScope<P extends ScopePool> {
  readonly name: string;
  readonly netns: Netns | undefined;
  readonly pool: P;
  readonly listeners = new Set<EngineListener>();

  /** Takes a duplicate of `netns`. */
  constructor(name: string, netns: Netns | undefined, makePool: (netns: Netns | undefined) => P) {
    this.name = name;
    this.netns = netns?.duplicate();
    this.pool = makePool(this.netns);
  }

  /** No new connection, no new session; what is open goes on. */
  async close(): Promise<void> {
    await Promise.all([...this.listeners].map((listener) => listener.close()));
    this.pool.drain();
  }

  /** Gives everything back. The owner's connections have ended. */
  release(): void {
    this.pool.destroy();
    this.netns?.[Symbol.dispose]();
  }
}
