/** What the bookinfo services share: a JSON server that ends in order, and a client with kept connections. */
import http from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly contentType?: string;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
/** Longer than the pauses of any client here, so that a kept connection is not closed under a request. */
const KEEP_ALIVE_MS = 600_000;
/** A kept connection is renewed after this many requests, as behind many real servers. */
const REQUESTS_PER_CONNECTION = 100;

/** Serves on both families. `GET /health` answers by itself. SIGTERM ends the process when open requests are done. */
export function serve(port: number, route: (path: string) => Promise<Answer | undefined>): void {
  const server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const path = request.url ?? '/';
    const work = path === '/health' ? Promise.resolve({ status: 200, body: { status: 'healthy' } }) : route(path);
    work
      .then((answer) => answer ?? { status: 404, body: { error: `no ${path}` } })
      .catch((error: unknown) => ({ status: 503, body: { error: String(error) } }))
      .then(({ status, body, contentType = 'application/json' }: Answer) => {
        const text = typeof body === 'string' ? body : JSON.stringify(body);
        response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text) });
        response.end(text);
      });
  });
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  server.listen(port, '::');
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

/** Asks another service for JSON. Rejects when it cannot be reached or does not answer with 200. */
export async function ask(host: string, port: number, path: string): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    const request = http.get({ host, port, path, agent, timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode !== 200) reject(new Error(`${host}${path} answered ${response.statusCode}`));
        else resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`${host}${path} did not answer`)));
    request.on('error', reject);
  });
}
