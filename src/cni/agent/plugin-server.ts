/**
 * Answers the CNI plugin: HTTP/1.1 on a unix socket, `POST /cmdadd`. Anyone on the node may connect; what is sent is
 * bounded in size, number and time, and proves nothing by itself.
 * Source: Istio node agent, CNI event server; a pod that is not to be enrolled is answered with 200.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { dirname } from 'node:path';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { type CmdAddRequest, parseCmdAdd } from './cmdadd-request.ts';

export interface PluginServerDeps {
  readonly path: string;
  readonly log: Logger;
  /** Rejects when the pod must not start. Must end soon after the signal aborts. */
  readonly onAdd: (request: CmdAddRequest, signal: AbortSignal) => Promise<void>;
  readonly onAnswer: (status: number, seconds: number) => void;
}

/** Below the plugin's own deadline, so that it prints the reason rather than that there was none. */
export const ADD_DEADLINE_MS = 4_500;
const BODY_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 256;
const HEADERS_TIMEOUT_MS = 2_000;

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Listens; disposing ends the requests that wait. Rejects with ERR_SYSTEM. */
export async function servePlugin(deps: PluginServerDeps): Promise<AsyncDisposable> {
  const { path, log, onAnswer } = deps;
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: ADD_DEADLINE_MS, maxHeaderSize: 8 * 1024 },
    (request, response) => {
      const startMs = performance.now();
      answer(deps, request).then(({ status, text }) => {
        onAnswer(status, (performance.now() - startMs) / 1_000);
        if (status !== 200) log.warn('CNI request refused', { status, reason: text });
        response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(text);
      }, log.error);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, path);
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    rmSync(path, { force: true }); // of an agent that was killed
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o666);
  } catch (cause) {
    throw new MeshError('ERR_SYSTEM', `cannot listen on ${path}: ${errorMessage(cause)}`, { cause });
  }
  server.on('error', () => {}); // a failed accept must not end the agent
}

/** Never rejects. */
async function answer({ onAdd, log }: PluginServerDeps, request: IncomingMessage): Promise<Answer> {
  try {
    if (request.url !== '/cmdadd') return { status: 404, text: 'not found' };
    if (request.method !== 'POST') return { status: 405, text: 'POST is expected' };
    const body = await readBody(request);
    const parsed = parseCmdAdd(body);
    const startMs = performance.now();
    await beforeDeadline((signal) => onAdd(parsed, signal));
    const pod = `${parsed.namespace}/${parsed.name}`;
    log.debug('CNI request done', { pod, durationMs: Math.round(performance.now() - startMs) });
    return { status: 200, text: '' };
  } catch (error) {
    const isTheirs = error instanceof MeshError && error.code === 'ERR_MALFORMED';
    return { status: isTheirs ? 400 : 500, text: errorMessage(error) };
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new MeshError('ERR_MALFORMED', `the request is over ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  if (bytes === 0) throw new MeshError('ERR_MALFORMED', 'the request is empty');
  return Buffer.concat(chunks).toString('utf8');
}

async function beforeDeadline(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    controller.abort();
    late.reject(new MeshError('ERR_TIMEOUT', `the pod was not ready within ${ADD_DEADLINE_MS} ms`));
  }, ADD_DEADLINE_MS);
  try {
    await Promise.race([work(controller.signal), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
