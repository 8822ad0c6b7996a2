/**
 * The pod of the cluster suites: a server that tells who came, and a client that is told what to do over a control port
 * on loopback, which no mesh captures and a port-forward reaches.
 *
 * Ports: 8080 and 8081 HTTP, 9090 an echo of bytes, 15999 on 127.0.0.1 for control. `ROLE=visitor`: makes one request to
 * `TARGET` and exits with 0 when it was answered (for Jobs and init containers).
 * After SIGTERM it serves on for `TERM_DELAY_MS`, so that endpoints have time to go.
 */
import { lookup } from 'node:dns/promises';
import { type Dirent, readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Capture } from './capture.ts';
import { HeldConnections } from './held-connections.ts';
import { Load } from './load.ts';
import { type FetchRequest, fetchOnce } from './request.ts';

interface Running {
  stop(): unknown;
}

const CONTROL_PORT = 15_999;
const CONCURRENT_MAX = 32;
const running = new Map<string, Running>();
let ending = false;

function serveHttp(port: number): void {
  const server = createServer((request, response) => {
    if (request.url === '/ready') return void response.writeHead(ending ? 503 : 200).end();
    request.resume();
    const { remoteAddress = '', remotePort = 0 } = request.socket;
    const body = { pod: hostname(), remote: remoteAddress.replace(/^::ffff:/, ''), remotePort, port, at: Date.now() };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ...body, headers: request.headers }));
  });
  server.keepAliveTimeout = 60_000;
  server.on('error', fail);
  server.listen({ port, host: '::', backlog: 512 });
}

function serveEcho(port: number): void {
  const server = createTcpServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.on('error', fail);
  server.listen({ port, host: '::', backlog: 512 });
}

/** What a control request asks for; a value is answered as JSON. */
const actions: Readonly<Record<string, (body: never) => unknown>> = {
  async fetch({ request, count }: { request: FetchRequest; count: number }) {
    const results: unknown[] = [];
    let left = count;
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        results.push(await fetchOnce(request));
      }
    };
    await Promise.all(Array.from({ length: Math.min(count, CONCURRENT_MAX) }, worker));
    return results;
  },
  resolve: async ({ name }: { name: string }) => {
    try {
      return (await lookup(name, { all: true })).map(({ address }) => address);
    } catch (error) {
      return { error: (error as NodeJS.ErrnoException).code ?? String(error) };
    }
  },
  load({ id, ...options }: { id: string } & ConstructorParameters<typeof Load>[0]) {
    running.set(id, new Load(options));
  },
  async hold({ id, ...options }: { id: string } & Parameters<typeof HeldConnections.open>[0]) {
    running.set(id, await HeldConnections.open(options));
  },
  async capture({ id, filter, everywhere }: { id: string; filter: string; everywhere?: boolean }) {
    running.set(id, await Capture.start(everywhere ? 'any' : uplink(), filter));
  },
  /** Paths below `folder` whose name or content matches. */
  find({ folder, pattern }: { folder: string; pattern: string }) {
    const wanted = new RegExp(pattern);
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => wanted.test(entry.name) || (entry.name.endsWith('list') && wanted.test(textOf(entry))))
      .map(({ parentPath, name }) => join(parentPath, name));
  },
  look: ({ id }: { id: string }) => (running.get(id) as HeldConnections | Load | undefined)?.summary(),
  async stop({ id }: { id: string }) {
    const found = running.get(id);
    running.delete(id);
    return await found?.stop();
  },
};

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const action = actions[(request.url ?? '').slice(1)];
  if (action === undefined) return void response.writeHead(404).end('no such action');
  try {
    const result = await action(JSON.parse(Buffer.concat(chunks).toString() || '{}') as never);
    response.setHeader('connection', 'close');
    response.end(JSON.stringify(result ?? null));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}

/** The device of the default route, by /proc/net/route. */
function uplink(): string {
  const rows = readFileSync('/proc/net/route', 'utf8').split('\n').slice(1);
  return rows.find((row) => row.split('\t')[1] === '00000000')?.split('\t')[0] ?? 'eth0';
}

function textOf({ parentPath, name }: Dirent): string {
  return readFileSync(join(parentPath, name), 'utf8');
}

function fail(error: Error): void {
  console.error(String(error));
  process.exit(1);
}

async function visit(target: string): Promise<void> {
  const result = await fetchOnce({ url: target, timeoutMs: 20_000 });
  console.log(JSON.stringify(result));
  process.exit(result.status === 200 ? 0 : 1);
}

process.on('SIGTERM', () => {
  ending = true;
  void delay(Number(process.env.TERM_DELAY_MS ?? 0)).then(() => process.exit(0));
});
const target = process.env.TARGET ?? '';
if (process.env.ROLE === 'visitor') await visit(target);
if (process.env.ROLE !== 'sniffer') {
  for (const port of [8_080, 8_081]) serveHttp(port);
  serveEcho(9_090);
}
createServer((request, response) => void control(request, response))
  .listen(CONTROL_PORT, '127.0.0.1')
  .on('error', fail);
// A pod under churn calls at once: its very first packet must already be captured.
if (target !== '')
  void fetchOnce({ url: target, timeoutMs: 20_000 }).then((result) => console.log(JSON.stringify(result)));
