/** The connections of an engine: numbered, found by number, reported on once a second, awaited when draining. */
import type { ConnectionId, EngineHandlers } from '../port.ts';
import { Connection } from './connection.ts';

const REPORT_INTERVAL_MS = 1_000;

export class ConnectionSet implements Disposable {
  readonly #handlers: EngineHandlers;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #waiting = new Set<() => void>();
  readonly #reports: NodeJS.Timeout;
  #lastId = 0;

  constructor(handlers: EngineHandlers) {
    this.#handlers = handlers;
    this.#reports = setInterval(() => {
      for (const connection of this.#connections.values()) connection.report();
    }, REPORT_INTERVAL_MS);
    this.#reports.unref();
  }

  get size(): number {
    return this.#connections.size;
  }

  get bufferedBytes(): number {
    let bytes = 0;
    for (const connection of this.#connections.values()) bytes += connection.bufferedBytes;
    return bytes;
  }

  /** Runs one connection to its end. `serve` tells the end by `connection.end`; a throw there is a bug and is not caught. */
  async run(owner: string, serve: (connection: Connection) => Promise<void>): Promise<void> {
    this.#lastId += 1;
    const connection = new Connection(this.#lastId, owner, this.#handlers);
    this.#connections.set(connection.id, connection);
    try {
      await serve(connection);
    } finally {
      this.#connections.delete(connection.id);
      for (const check of this.#waiting) check();
    }
  }

  find(id: ConnectionId): Connection | undefined {
    return this.#connections.get(id);
  }

  /** Waits until no connection of `owner` (undefined: of anybody) is open; cuts those that still are at the deadline. */
  async drain(owner: string | undefined, deadlineMs: number): Promise<void> {
    const isMeant = (connection: Connection) => owner === undefined || connection.owner === owner;
    const isEmpty = () => ![...this.#connections.values()].some(isMeant);
    if (isEmpty()) return;
    await new Promise<void>((resolve) => {
      const check = () => {
        if (!isEmpty()) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        for (const connection of this.#connections.values()) {
          if (isMeant(connection)) connection.cut('-', 'connection closed due to connection drain');
        }
      }, deadlineMs);
      this.#waiting.add(check);
      check();
    });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#reports);
  }
}
