/**
 * A customer who never rests: pages on kept connections, details on a new connection each time, and one raw TCP
 * connection to the ledger that is meant to live for ever. Counts what went well and what did not; `GET /stats` on
 * loopback tells. `GET /call?url=...` makes one request from here and tells how it went.
 */
import http from 'node:http';
import net from 'node:net';

const PAUSE_MS = 20;
const REQUEST_TIMEOUT_MS = 5_000;
const FAILURES_KEPT = 20;

interface Counter {
  ok: number;
  failed: number;
}

const stats = {
  kept: { ok: 0, failed: 0, connections: 0 },
  fresh: { ok: 0, failed: 0 },
  ledger: { ok: 0, failed: 0, connections: 0 },
  failures: [] as string[],
};

/** Loses no request of its own making: idle connections are not reused after the server's limit. */
const kept = new http.Agent({ keepAlive: true, maxSockets: 2 });

interface Outcome {
  readonly status: number;
  readonly ms: number;
  readonly body: string;
}

async function request(url: string, agent: http.Agent | false): Promise<Outcome> {
  const startedMs = performance.now();
  return await new Promise((resolve, reject) => {
    const sent = http.get(url, { agent, timeout: REQUEST_TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, ms: performance.now() - startedMs, body });
      });
    });
    sent.on('socket', (socket) => {
      if (agent === kept && socket.connecting) stats.kept.connections += 1;
    });
    sent.on('timeout', () => sent.destroy(new Error('timeout')));
    sent.on('error', reject);
  });
}

async function shop(counter: Counter, name: string, url: string, agent: http.Agent | false): Promise<never> {
  for (;;) {
    try {
      const { status } = await request(url, agent);
      if (status === 200) counter.ok += 1;
      else fail(counter, `${name}: status ${status}`);
    } catch (error) {
      fail(counter, `${name}: ${String(error)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Keeps one connection; a new one is made only when it broke, and that counts as a failure. */
function keepLedger(): void {
  const socket = net.connect({ host: 'ledger', port: 9000 });
  stats.ledger.connections += 1;
  let sent = 0;
  let received = '';
  const timer = setInterval(() => {
    sent += 1;
    socket.write(`entry ${sent}\n`);
  }, PAUSE_MS * 2);
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (received + chunk).split('\n');
    received = lines.pop() ?? '';
    for (const line of lines) {
      const [count, , entry] = line.split(' ');
      if (count === entry) stats.ledger.ok += 1;
      else fail(stats.ledger, `ledger: unexpected '${line}'`);
    }
  });
  socket.on('error', (error) => fail(stats.ledger, `ledger: ${String(error)}`));
  socket.on('close', () => {
    clearInterval(timer);
    fail(stats.ledger, 'ledger: the connection ended');
    setTimeout(keepLedger, PAUSE_MS * 10);
  });
}

function fail(counter: Counter, text: string): void {
  counter.failed += 1;
  stats.failures.push(`${new Date().toISOString()} ${text}`);
  if (stats.failures.length > FAILURES_KEPT) stats.failures.shift();
  console.log(text);
}

async function call(url: string): Promise<object> {
  try {
    return await request(url, false);
  } catch (error) {
    return { status: 0, error: String(error) };
  }
}

http
  .createServer((incoming, response) => {
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    const target = url.searchParams.get('url');
    const answer = url.pathname === '/call' && target !== null ? call(target) : Promise.resolve(stats);
    answer.then((value) => response.end(JSON.stringify(value)));
  })
  .listen(9090, '::');

process.once('SIGTERM', () => process.exit(0));
void shop(stats.kept, 'kept', 'http://productpage:9080/api/v1/products/0', kept);
void shop(stats.fresh, 'fresh', 'http://details:9080/details/0', false);
keepLedger();
