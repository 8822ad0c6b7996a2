/**
 * The engine's threads as the rest of this folder uses them: numbers, orders and what is told back, by number.
 *
 * Invariants
 *  - A descriptor that is given to a thread belongs to it; a refused stream gives it back.
 *  - Every stream and join that was ordered is told as ended or refused exactly once.
 */
import type { EngineOptions } from '../port.ts';
import { type Addon, type EngineHandle, EVENT, type NativeEvent, type TlsContextHandle } from './addon.ts';

export interface StreamRefused {
  readonly kind: 'refused';
  /** Given back; -1 when none was given. */
  readonly fd: number;
  readonly reason: string;
}

export interface StreamEnded {
  readonly kind: 'ended';
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** One of END_CAUSE, and its number: an errno, a status. */
  readonly cause: number;
  readonly detail: number;
  /** Of the answer to a CONNECT of ours. */
  readonly headers: Readonly<Record<string, string>> | undefined;
}

export type StreamEnd = StreamRefused | StreamEnded;

export interface SessionEvents {
  onHandshake(chain: readonly Buffer[]): void;
  /** @param cause one of CLOSE_CAUSE */
  onClosed(reason: string, cause: number): void;
  onSettings(maxConcurrentStreams: number): void;
  onGoaway(): void;
  onStream(id: number, method: string, authority: string, rawHeaders: readonly string[]): void;
}

export interface SessionOrder {
  readonly isServer: boolean;
  readonly context: TlsContextHandle;
  readonly timeoutMs: number;
  /** What to run over. */
  readonly over: { readonly fd: number } | { readonly carrier: number };
}

const NO_PREAMBLE = new Uint8Array();

export class EngineThreads {
  readonly addon: Addon;
  readonly #handle: EngineHandle;
  readonly #count: number;
  readonly #sessions = new Map<number, SessionEvents>();
  readonly #ends = new Map<number, (end: StreamEnd) => void>();
  readonly #established = new Map<number, (headers: Readonly<Record<string, string>>) => void>();
  readonly #onProgress: (id: number, received: number, sent: number) => void;
  #lastId = 0;
  #nextThread = 0;

  constructor(
    addon: Addon,
    count: number,
    options: EngineOptions,
    onProgress: (id: number, received: number, sent: number) => void,
  ) {
    this.addon = addon;
    this.#count = count;
    this.#onProgress = onProgress;
    this.#handle = addon.start(
      count,
      options.streamWindowBytes,
      options.connectionWindowBytes,
      options.frameSizeBytes,
      (events) => {
        for (const event of events) this.#onEvent(event);
      },
    );
  }

  get bufferedBytes(): number {
    return this.addon.bufferedBytes(this.#handle);
  }

  /** Even numbers; the threads give odd ones to what peers open. */
  nextId(): number {
    this.#lastId += 2;
    return this.#lastId;
  }

  /** Threads in turn. */
  pickThread(): number {
    this.#nextThread = (this.#nextThread + 1) % this.#count;
    return this.#nextThread;
  }

  openSession(thread: number, events: SessionEvents, { isServer, context, timeoutMs, over }: SessionOrder): number {
    const id = this.nextId();
    this.#sessions.set(id, events);
    const [fd, carrier] = 'fd' in over ? [over.fd, 0] : [-1, over.carrier];
    this.addon.openSession(this.#handle, thread, id, isServer, fd, carrier, context, timeoutMs);
    return id;
  }

  acceptSession(thread: number, id: number): void {
    this.addon.acceptSession(this.#handle, thread, id);
  }

  closeSession(thread: number, id: number, isGraceful: boolean): void {
    this.addon.closeSession(this.#handle, thread, id, isGraceful);
  }

  /** A CONNECT on a session, joined with `fd` once it is answered 200. Resolves when it has ended. */
  connect(
    thread: number,
    id: number,
    {
      session,
      fd,
      authority,
      headers,
    }: {
      readonly session: number;
      readonly fd: number;
      readonly authority: string;
      readonly headers: Readonly<Record<string, string>>;
    },
  ): Promise<StreamEnd> {
    const end = this.ending(id);
    this.addon.connect(this.#handle, thread, id, session, fd, authority, flatten(headers));
    return end;
  }

  /** Resolves with the headers when a CONNECT is answered 200; never when it is not. */
  established(id: number): Promise<Readonly<Record<string, string>>> {
    return new Promise((resolve) => {
      this.#established.set(id, resolve);
    });
  }

  answer(thread: number, id: number, status: number): void {
    this.#ends.delete(id);
    this.addon.answer(this.#handle, thread, id, status);
  }

  /** Answers a stream that a peer opened with 200 and joins it with `fd`; see `ending`. */
  serve(
    thread: number,
    id: number,
    fd: number,
    {
      headers = {},
      preamble = NO_PREAMBLE,
    }: { readonly headers?: Readonly<Record<string, string>> | undefined; readonly preamble?: Uint8Array | undefined },
  ): void {
    this.addon.serve(this.#handle, thread, id, fd, flatten(headers), new Uint8Array(preamble));
  }

  join(
    thread: number,
    id: number,
    fds: readonly [client: number, server: number],
    preamble: Uint8Array = NO_PREAMBLE,
  ): Promise<StreamEnd> {
    const end = this.ending(id);
    this.addon.join(this.#handle, thread, id, fds[0], fds[1], new Uint8Array(preamble));
    return end;
  }

  /** The end of a stream or join. */
  ending(id: number): Promise<StreamEnd> {
    return new Promise((resolve) => {
      this.#ends.set(id, resolve);
    });
  }

  /** Resets both sides; the end is told as any other. */
  cut(thread: number, id: number): void {
    this.addon.cut(this.#handle, thread, id);
  }

  stop(): void {
    this.addon.stop(this.#handle);
  }

  #onEvent([kind, id, a, b, n, cause, text, list]: NativeEvent): void {
    const texts = list as readonly string[]; // Buffers come with `handshake` alone
    switch (kind) {
      case EVENT.progress:
        this.#onProgress(id, a, b);
        return;
      case EVENT.ended:
        this.#onEnd(id, {
          kind: 'ended',
          bytesReceived: a,
          bytesSent: b,
          cause,
          detail: n,
          headers: texts.length === 0 ? undefined : unflatten(texts),
        });
        return;
      case EVENT.refused:
        this.#onEnd(id, { kind: 'refused', fd: n, reason: text });
        return;
      case EVENT.established:
        this.#established.get(id)?.(unflatten(texts));
        this.#established.delete(id);
        return;
      case EVENT.handshake:
        this.#sessions.get(id)?.onHandshake(list as readonly Buffer[]); // as above
        return;
      case EVENT.settings:
        this.#sessions.get(id)?.onSettings(n);
        return;
      case EVENT.goaway:
        this.#sessions.get(id)?.onGoaway();
        return;
      case EVENT.stream:
        this.#sessions.get(a)?.onStream(id, text, texts[0] ?? '', texts.slice(1));
        return;
      case EVENT.sessionClosed:
        this.#sessions.get(id)?.onClosed(text, n);
        this.#sessions.delete(id);
    }
  }

  #onEnd(id: number, end: StreamEnd): void {
    const resolve = this.#ends.get(id);
    this.#ends.delete(id);
    this.#established.delete(id);
    resolve?.(end);
  }
}

function flatten(headers: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(headers).flat();
}

function unflatten(list: readonly string[]): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < list.length; i += 2) headers[list[i] ?? ''] = list[i + 1] ?? '';
  return headers;
}
