/** The connections of the engine, found by number and awaited when draining. */
import type { ConnectionId, EngineHandlers } from '../port.ts';
import { NativeConnection } from './native-connection.ts';

export class ConnectionTable {
  readonly #handlers: EngineHandlers;
  readonly #connections = new Map<ConnectionId, NativeConnection>();
  readonly #waiting = new Set<() => void>();

  constructor(handlers: EngineHandlers) {
    this.#handlers = handlers;
  }

  get size(): number {
    return this.#connections.size;
  }

  find(id: ConnectionId): NativeConnection | undefined {
    return this.#connections.get(id);
  }

  /** Runs one connection to its end. `serve` tells the end by `connection.end`; a throw there is a bug and is not caught. */
  async run(id: ConnectionId, owner: string, serve: (connection: NativeConnection) => Promise<void>): Promise<void> {
    const connection = new NativeConnection(id, owner, this.#handlers);
    this.#connections.set(id, connection);
    try {
      await serve(connection);
    } finally {
      this.#connections.delete(id);
      for (const check of this.#waiting) check();
    }
  }

  /** Waits until no connection of `owner` (undefined: of anybody) is open; cuts those that still are at the deadline. */
  async drain(owner: string | undefined, deadlineMs: number): Promise<void> {
    const open = () => [...this.#connections.values()].filter((one) => owner === undefined || one.owner === owner);
    if (open().length === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of open()) connection.cut('-', 'connection closed due to connection drain');
      }, deadlineMs);
      const check = () => {
        if (open().length > 0) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
    });
  }
}
