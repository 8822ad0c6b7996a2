/** Connections to an echo that are held open and used all the time, to see whether one breaks. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';

export interface HoldOptions {
  readonly host: string;
  readonly port: number;
  readonly count: number;
  readonly intervalMs: number;
}

export interface HoldSummary {
  readonly open: number;
  readonly broken: readonly string[];
  /** Answers of the echo, of all connections. */
  readonly exchanged: number;
  /** Echoes that were not the bytes sent. */
  readonly corrupted: number;
}

export class HeldConnections {
  readonly #sockets: readonly Socket[];
  readonly #timer: NodeJS.Timeout;
  readonly #broken: string[] = [];
  #exchanged = 0;
  #corrupted = 0;
  #stopped = false;

  private constructor(sockets: readonly Socket[], intervalMs: number) {
    this.#sockets = sockets;
    for (const socket of sockets) this.#watch(socket);
    this.#timer = setInterval(() => {
      for (const socket of sockets) if (!socket.destroyed) socket.write('ping\n');
    }, intervalMs);
  }

  static async open({ host, port, count, intervalMs }: HoldOptions): Promise<HeldConnections> {
    const sockets = Array.from({ length: count }, () => createConnection({ host, port, noDelay: true }));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    return new HeldConnections(sockets, intervalMs);
  }

  summary(): HoldSummary {
    const open = this.#sockets.filter(({ destroyed }) => !destroyed).length;
    return { open, broken: this.#broken, exchanged: this.#exchanged, corrupted: this.#corrupted };
  }

  stop(): HoldSummary {
    const summary = this.summary();
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
    return summary;
  }

  #watch(socket: Socket): void {
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      this.#exchanged += lines.length;
      this.#corrupted += lines.filter((line) => line !== 'ping').length;
    });
    const broke = (why: string): void => {
      if (!this.#stopped) this.#broken.push(why);
    };
    let reason = 'closed by the peer';
    socket.on('error', (error) => {
      reason = (error as NodeJS.ErrnoException).code ?? String(error);
    });
    socket.on('close', () => broke(reason));
  }
}
