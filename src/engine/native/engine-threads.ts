/**
 * The engine's threads as the rest of this folder uses them: numbers, orders and what is told back, by number.
 *
 * Invariants
 *  - Every connection and stream that a thread told of, or was ordered to open, is told as ended exactly once, unless it
 *    was dismissed.
 *  - What waited for a session is told as ended before the session is told as closed.
 */
import type { DecisionCandidate, ForwardPlain, HboneConnect, HboneSessionKey, ReusableDecision } from '../port.ts';
import { poolKey } from '../session-key.ts';
import {
  type Addon,
  END_CAUSE,
  type EngineHandle,
  EVENT,
  type NativeCandidate,
  type NativeEvent,
  type NativeOptions,
  type OwnerHandle,
  type TlsContextHandle,
} from './addon.ts';
import type { OnAccepted, SessionEvents, StreamEnded, TakenDecision, ThreadEvents } from './thread-events.ts';

interface ListenerEvents {
  readonly onAccepted: OnAccepted;
  onClosed(): void;
}

interface Remembered {
  readonly generation: number;
  readonly tokens: readonly unknown[];
}

type Headers = Readonly<Record<string, string>>;

const NO_PREAMBLE = new Uint8Array();

export class EngineThreads {
  readonly addon: Addon;
  readonly #handle: EngineHandle;
  readonly #count: number;
  readonly #events: ThreadEvents;
  readonly #sessions = new Map<number, SessionEvents>();
  readonly #ends = new Map<number, (end: StreamEnded) => void>();
  readonly #established = new Map<number, (headers: Headers) => void>();
  readonly #listeners = new Map<number, ListenerEvents>();
  readonly #remembered = new Map<number, Remembered>();
  #generation = 0;
  #lastId = 0;

  constructor(addon: Addon, count: number, options: NativeOptions, events: ThreadEvents) {
    this.addon = addon;
    this.#count = count;
    this.#events = events;
    this.#handle = addon.start(count, options, (batch) => {
      for (const event of batch) this.#onEvent(event);
    });
  }

  get bufferedBytes(): number {
    return this.addon.bufferedBytes(this.#handle);
  }

  /** Even numbers; the threads give odd ones to what they accept. */
  nextId(): number {
    this.#lastId += 2;
    return this.#lastId;
  }

  addOwner(netnsFd: number | undefined): OwnerHandle {
    return this.addon.addOwner(this.#handle, netnsFd ?? -1);
  }

  drainOwner(owner: OwnerHandle): void {
    this.addon.drainOwner(this.#handle, owner);
  }

  forgetOwner(owner: OwnerHandle): void {
    this.addon.forgetOwner(this.#handle, owner);
  }

  /** Accepts from `fd`, which stays the caller's, on every thread. Returns the listener's number. */
  listen(kind: number, owner: OwnerHandle, fd: number, onAccepted: OnAccepted): number {
    const id = this.nextId();
    this.#listeners.set(id, { onAccepted, onClosed: () => {} });
    this.addon.listen(this.#handle, id, kind, owner, fd);
    return id;
  }

  /** Resolves when all that was accepted has been told. */
  async closeListener(id: number): Promise<void> {
    const listener = this.#listeners.get(id);
    if (!listener) return;
    // threads hand over what they accept: the second answers come after the last of it
    for (let round = 0; round < 2; round++) {
      const { promise, resolve } = Promise.withResolvers<void>();
      let open = this.#count;
      this.#listeners.set(id, {
        onAccepted: listener.onAccepted,
        onClosed: () => {
          open -= 1;
          if (open === 0) resolve();
        },
      });
      this.addon.closeListener(this.#handle, id);
      await promise;
    }
    this.#listeners.delete(id);
  }

  /** What is told of a session from now on. */
  watchSession(id: number, events: SessionEvents): void {
    this.#sessions.set(id, events);
  }

  /** A connection that was accepted becomes a session of the same number. */
  serveSession(thread: number, id: number, context: TlsContextHandle): void {
    this.addon.serveSession(this.#handle, thread, id, context);
  }

  openInnerSession(thread: number, id: number, carrier: number, context: TlsContextHandle): void {
    this.addon.openInnerSession(this.#handle, thread, id, carrier, context);
  }

  /** @param context null: there is none, the session fails */
  useCredentials(thread: number, id: number, context: TlsContextHandle | null): void {
    this.addon.useCredentials(this.#handle, thread, id, context);
  }

  acceptSession(thread: number, id: number): void {
    this.addon.acceptSession(this.#handle, thread, id);
  }

  closeSession(thread: number, id: number, isGraceful: boolean): void {
    this.addon.closeSession(this.#handle, thread, id, isGraceful);
  }

  /** What is decided upon `id`, which the thread has yet to be told, holds for those like it until `forgetDecisions`. */
  remember(thread: number, id: number, { candidates }: ReusableDecision): void {
    const number = this.nextId();
    const generation = this.#generation;
    this.#remembered.set(number, { generation, tokens: candidates.map(({ token }) => token) });
    this.addon.remember(this.#handle, thread, id, generation, number, candidates.map(toNative));
  }

  forgetDecisions(): void {
    this.#generation += 1;
    this.addon.setGeneration(this.#handle, this.#generation);
  }

  /** Dials and joins; a stream is answered 200, or 503 when the dial fails. */
  forward(thread: number, id: number, { to, sourceIp = '', preamble, responseHeaders = {} }: ForwardPlain): void {
    const { ip, port } = to;
    const headers = flatten(responseHeaders);
    this.addon.forward(this.#handle, thread, id, ip, port, sourceIp, bytesOf(preamble), headers);
  }

  /** Dials out of `owner`'s namespace and joins; the other end is told of as `twin`. */
  joinLocal(
    thread: number,
    id: number,
    { twin, owner }: { readonly twin: number; readonly owner: OwnerHandle },
    { to: { ip, port }, sourceIp = '', preamble, responseHeaders = {} }: ForwardPlain,
  ): void {
    const headers = flatten(responseHeaders);
    this.addon.joinLocal(this.#handle, thread, id, twin, owner, ip, port, sourceIp, bytesOf(preamble), headers);
  }

  /** A CONNECT on a pooled session. */
  tunnel(thread: number, id: number, session: HboneSessionKey, { authority, headers }: HboneConnect): void {
    const { ip, port } = session.peer;
    this.addon.tunnel(this.#handle, thread, id, poolKey(session), ip, port, authority, flatten(headers));
  }

  /** A stream that will carry a session; `established` tells when. */
  park(
    thread: number,
    id: number,
    owner: OwnerHandle,
    { session, connect }: { readonly session: HboneSessionKey; readonly connect: HboneConnect },
  ): void {
    const { ip, port } = session.peer;
    const headers = flatten(connect.headers);
    this.addon.park(this.#handle, thread, id, owner, poolKey(session), ip, port, connect.authority, headers);
  }

  /** A connection takes a stream of this session, which is on the same thread. */
  goOver(thread: number, id: number, session: number, { authority, headers }: HboneConnect): void {
    this.addon.goOver(this.#handle, thread, id, session, authority, flatten(headers));
  }

  /** Ends what waits for its decision, a stream with `status`. Nothing more is told of it. */
  dismiss(thread: number, id: number, status: number): void {
    this.#ends.delete(id);
    this.#established.delete(id);
    this.addon.dismiss(this.#handle, thread, id, status);
  }

  /** Resets both sides; the end is told as any other. */
  cut(thread: number, id: number): void {
    this.addon.cut(this.#handle, thread, id);
  }

  /** `listener` hears the headers when a CONNECT is answered 200; never when it is not. */
  onEstablished(id: number, listener: (headers: Headers) => void): void {
    this.#established.set(id, listener);
  }

  /** The end of a connection or stream. */
  ending(id: number): Promise<StreamEnded> {
    return new Promise((resolve) => {
      this.#ends.set(id, resolve);
    });
  }

  stop(): void {
    this.addon.stop(this.#handle);
  }

  #onEvent(event: NativeEvent): void {
    const [kind, id, thread, session, a, b, , , cause, text, list] = event;
    const texts = list as readonly string[]; // Buffers come with `handshake` alone
    switch (kind) {
      case EVENT.ended:
        this.#onEnded(event);
        return;
      case EVENT.progress:
        this.#events.onProgress(id, a, b);
        return;
      case EVENT.established:
        this.#established.get(id)?.(unflatten(texts));
        this.#established.delete(id);
        return;
      case EVENT.accepted:
        this.#onAccepted(a, event, undefined);
        return;
      case EVENT.stream:
        this.#onStream(event, undefined);
        return;
      case EVENT.reused:
        if (session === 0) this.#onAccepted(b, event, this.#taken(event));
        else this.#onStream(event, this.#taken(event));
        return;
      case EVENT.forgotten:
        this.#remembered.delete(id);
        return;
      case EVENT.handshake:
        this.#sessions.get(id)?.onHandshake(list as readonly Buffer[]); // as above
        return;
      case EVENT.settings:
        this.#sessions.get(id)?.onSettings();
        return;
      case EVENT.sessionWanted:
        this.#events.onSessionWanted({ id, thread, owner: a, key: text });
        return;
      case EVENT.sessionClosed:
        this.#sessions.get(id)?.onClosed(text, event[6]);
        this.#sessions.delete(id);
        return;
      case EVENT.listenerClosed:
        this.#listeners.get(id)?.onClosed();
        return;
      default:
        throw new Error(`the engine told an event of unknown kind ${kind}, cause ${cause}`);
    }
  }

  #onAccepted(listener: number, [, id, thread, , , , , , , text]: NativeEvent, taken: TakenDecision | undefined): void {
    const [remoteIp = '', remotePort, localIp = '', localPort, originalIp, originalPort] = text.split(' ');
    const events = this.#listeners.get(listener);
    if (!events) {
      this.cut(thread, id);
      return;
    }
    const accepted = {
      id,
      thread,
      remote: { ip: remoteIp, port: Number(remotePort) },
      local: { ip: localIp, port: Number(localPort) },
      originalDestination: originalIp === undefined ? undefined : { ip: originalIp, port: Number(originalPort) },
    };
    events.onAccepted(accepted, taken);
  }

  #onStream([, id, thread, session, , , , , , method, list]: NativeEvent, taken: TakenDecision | undefined): void {
    const [authority = '', ...rawHeaders] = list as readonly string[]; // Buffers come with `handshake` alone
    const events = this.#sessions.get(session);
    if (events) events.onStream({ id, method, authority, rawHeaders }, taken);
    else this.cut(thread, id);
  }

  /** Threads tell that they forgot a decision after all that took it. */
  #taken([, , , , number, , candidate]: NativeEvent): TakenDecision {
    const remembered = this.#remembered.get(number);
    return {
      token: remembered?.tokens[candidate],
      isCurrent: remembered?.generation === this.#generation,
    };
  }

  #onEnded([, id, , session, a, b, n, us, cause, reason, list]: NativeEvent): void {
    const resolve = this.#ends.get(id);
    this.#ends.delete(id);
    this.#established.delete(id);
    const wasOpened = cause !== END_CAUSE.session;
    resolve?.({
      bytesReceived: wasOpened ? a : 0,
      bytesSent: b,
      durationMs: us / 1_000,
      cause,
      detail: n,
      errno: wasOpened ? 0 : a,
      reason,
      headers: list.length === 0 ? undefined : unflatten(list as readonly string[]), // as above
      session: this.#sessions.get(session),
    });
  }
}

function toNative({ weight, decision }: DecisionCandidate): NativeCandidate {
  if (decision.action === 'hbone') {
    const { session, connect } = decision;
    const { ip, port } = session.peer;
    return [weight, true, poolKey(session), ip, port, connect.authority, flatten(connect.headers)];
  }
  const { to, sourceIp = '', preamble, responseHeaders = {} } = decision;
  return [weight, false, to.ip, to.port, sourceIp, bytesOf(preamble), flatten(responseHeaders)];
}

/** The add-on reads a plain Uint8Array; a Buffer may be one or not. */
function bytesOf(preamble: Uint8Array | undefined): Uint8Array {
  return preamble ? new Uint8Array(preamble) : NO_PREAMBLE;
}

function flatten(headers: Headers): readonly string[] {
  const flat: string[] = [];
  for (const name in headers) flat.push(name, headers[name] ?? '');
  return flat;
}

function unflatten(list: readonly string[]): Headers {
  const headers: Record<string, string> = {};
  for (let i = 0; i + 1 < list.length; i += 2) headers[list[i] ?? ''] = list[i + 1] ?? '';
  return headers;
}
