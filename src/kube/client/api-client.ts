/** Calls of the Kubernetes API: whole answers, and the lines of a watch. Answers are bounded. */
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { ApiCall, ApiTransport } from './cluster-access.ts';
import { LineSplitter } from './line-splitter.ts';
import { retryDelayMs } from './retry-delay.ts';

export interface ApiAnswer {
  readonly status: number;
  /** Undefined when it is not JSON. */
  readonly body: unknown;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export type OpenedWatch =
  | { readonly status: 200; readonly events: AsyncIterable<readonly WatchEvent[]> }
  | { readonly status: number; readonly events: undefined };

const ANSWER_SILENCE_MS = 30_000;
/** Bookmarks come about every minute; a longer silence is a dead connection. */
const WATCH_SILENCE_MS = 150_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const MAX_ATTEMPTS = 4;
/** Too many requests, and a server that starts or stops. */
const TRANSIENT: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);

export class ApiClient {
  readonly #transport: ApiTransport;

  constructor(transport: ApiTransport) {
    this.#transport = transport;
  }

  /** One try. Rejects with ERR_SYSTEM when no answer came, ERR_LIMIT when it is too long. */
  async call(call: Omit<ApiCall, 'silenceMs'>): Promise<ApiAnswer> {
    const { status, text } = await this.callText(call);
    return { status, body: parseJson(text) };
  }

  /** As `call`, for what is not JSON: logs. */
  async callText(call: Omit<ApiCall, 'silenceMs'>): Promise<{ readonly status: number; readonly text: string }> {
    const { statusCode, body } = await this.#send({ ...call, silenceMs: ANSWER_SILENCE_MS });
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > MAX_ANSWER_BYTES) throw new MeshError('ERR_LIMIT', `answer longer than ${MAX_ANSWER_BYTES} bytes`);
        chunks.push(chunk);
      }
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      throw new MeshError('ERR_SYSTEM', `the API server's answer broke off: ${errorMessage(cause)}`, { cause });
    }
    return { status: statusCode, text: Buffer.concat(chunks).toString('utf8') };
  }

  /** As `call`, tried again a few times while the server is busy. Only for calls that may be made twice. */
  async callPatiently(call: Omit<ApiCall, 'silenceMs'>): Promise<ApiAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.call(call);
        if (!TRANSIENT.has(answer.status) || attempt >= MAX_ATTEMPTS) return answer;
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || call.signal?.aborted) throw error;
      }
      await delay(retryDelayMs(attempt, Math.random()));
    }
  }

  /** Opens a watch; its events come in the batches they arrive in. The iteration ends or throws with the connection. */
  async watch(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<OpenedWatch> {
    const answer = await this.#send({ method: 'GET', path, query, signal, silenceMs: WATCH_SILENCE_MS });
    if (answer.statusCode !== 200) {
      await answer.body.dump().catch(() => undefined);
      return { status: answer.statusCode, events: undefined };
    }
    return { status: 200, events: readEvents(answer.body as AsyncIterable<Buffer>) };
  }

  async #send(call: ApiCall) {
    try {
      return await this.#transport(call);
    } catch (cause) {
      throw new MeshError('ERR_SYSTEM', `no answer from the API server: ${errorMessage(cause)}`, { cause });
    }
  }
}

/** What the server says about a failed call, for a person. */
export function refusal({ status, body }: ApiAnswer): string {
  const message = typeof body === 'object' && body !== null ? (body as { message?: unknown }).message : undefined;
  return `${status} ${typeof message === 'string' ? message : 'without a message'}`;
}

async function* readEvents(body: AsyncIterable<Buffer>): AsyncGenerator<readonly WatchEvent[]> {
  const lines = new LineSplitter();
  for await (const chunk of body) {
    const events = lines.push(chunk).map(toEvent);
    if (events.length > 0) yield events;
  }
}

function toEvent(line: string): WatchEvent {
  const event = parseJson(line) as { type?: unknown; object?: unknown } | undefined | null;
  if (typeof event?.type !== 'string') throw new MeshError('ERR_MALFORMED', 'a line of a watch is not an event');
  return { type: event.type, object: event.object };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
