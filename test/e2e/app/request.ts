/** One HTTP request over a connection of its own. Never rejects. */
import { request } from 'node:http';

export interface FetchRequest {
  readonly url: string;
  readonly timeoutMs?: number;
}

export interface FetchResult {
  /** 0 when there was no answer. */
  readonly status: number;
  readonly body: string;
  /** Empty when there was an answer. */
  readonly error: string;
  readonly startedAtMs: number;
  readonly durationMs: number;
}

export function fetchOnce({ url, timeoutMs = 5_000 }: FetchRequest): Promise<FetchResult> {
  const startedAtMs = Date.now();
  const startMs = performance.now();
  return new Promise((resolve) => {
    const end = (status: number, body: string, error: string): void =>
      resolve({ status, body, error, startedAtMs, durationMs: performance.now() - startMs });
    const call = request(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => end(response.statusCode ?? 0, Buffer.concat(chunks).toString(), ''));
      response.on('error', (error) => end(0, '', String(error)));
    });
    call.on('error', (error) => end(0, '', (error as NodeJS.ErrnoException).code ?? String(error)));
    call.end();
  });
}
