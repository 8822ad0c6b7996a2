/** What the engine holds for one owner (a pod): its namespace, its listeners and its pool of sessions. */
import type { Netns } from 'culvert-netns';
import { type PoolableSession, SessionPool } from '../hbone/index.ts';
import type { EngineListener, EngineOptions } from './port.ts';

export class OwnerScope<S extends PoolableSession> {
  readonly name: string;
  readonly netns: Netns | undefined;
  readonly pool: SessionPool<S>;
  readonly listeners = new Set<EngineListener>();

  /** Takes a duplicate of `netns`. */
  constructor(name: string, netns: Netns | undefined, options: EngineOptions) {
    this.name = name;
    this.netns = netns?.duplicate();
    this.pool = new SessionPool({
      maxStreamsPerSession: options.maxStreamsPerSession,
      idleTimeoutMs: options.poolIdleTimeoutMs,
    });
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
