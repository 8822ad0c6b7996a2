/** The connections of an engine: found by number, and awaited by owner when draining. */
import type { ConnectionId, ResponseFlag } from './port.ts';

export interface OpenConnection {
  readonly id: ConnectionId;
  readonly owner: string;
  cut(flag: ResponseFlag, error: string): void;
}

export class ConnectionSet<C extends OpenConnection> implements Iterable<C> {
  readonly #connections = new Map<ConnectionId, C>();
  readonly #owners = new Map<string, Set<C>>();
  readonly #waiting = new Set<() => void>();

  get size(): number {
    return this.#connections.size;
  }

  [Symbol.iterator](): Iterator<C> {
    return this.#connections.values();
  }

  find(id: ConnectionId): C | undefined {
    return this.#connections.get(id);
  }

  /** Runs one connection to its end. `serve` tells the end by itself; a throw there is a bug and is not caught. */
  async run(connection: C, serve: () => Promise<void>): Promise<void> {
    this.#connections.set(connection.id, connection);
    const owned = this.#owners.get(connection.owner) ?? new Set();
    this.#owners.set(connection.owner, owned.add(connection));
    try {
      await serve();
    } finally {
      this.#connections.delete(connection.id);
      owned.delete(connection);
      if (owned.size === 0) this.#owners.delete(connection.owner);
      for (const check of this.#waiting) check();
    }
  }

  /** Waits until no connection of `owner` (undefined: of anybody) is open; cuts those that still are at the deadline. */
  async drain(owner: string | undefined, deadlineMs: number): Promise<void> {
    const open = (): ReadonlySet<C> | ReadonlyMap<ConnectionId, C> | undefined =>
      owner === undefined ? this.#connections : this.#owners.get(owner);
    if (!open()?.size) return;
    await new Promise<void>((resolve) => {
      const check = (): void => {
        if (open()?.size) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        for (const connection of [...(open()?.values() ?? [])]) {
          connection.cut('-', 'connection closed due to connection drain');
        }
      }, deadlineMs);
      this.#waiting.add(check);
    });
  }
}
