/** The client of the protocol suite: `client.ts <case>` does one thing and prints what came of it as JSON. */

import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';

const HOST = 'server';
const WAIT_MS = 10_000;

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: string;
}

async function call(options: http.RequestOptions, write?: (request: http.ClientRequest) => void): Promise<Answer> {
  const request = http.request({ host: HOST, port: 8080, timeout: WAIT_MS, ...options });
  if (write) write(request);
  else request.end();
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('latin1')) body += chunk;
  return { status: response.statusCode, headers: response.headers, trailers: response.trailers, body };
}

/** Sends bytes as they are and reads until the end. */
async function raw(port: number, text: string | Buffer, { half = false } = {}): Promise<string> {
  const socket = net.connect({ host: HOST, port, allowHalfOpen: half });
  socket.setTimeout(WAIT_MS, () => socket.destroy());
  let seen = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    seen += chunk;
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(text);
  if (half) socket.end();
  await once(socket, 'close').catch(() => undefined);
  return seen;
}

async function session(work: (client: http2.ClientHttp2Session) => Promise<unknown>, port = 8081): Promise<unknown> {
  const client = http2.connect(`http://${HOST}:${port}`);
  client.on('error', () => {});
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
}

async function exchange(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  parts: readonly string[],
) {
  const stream = client.request({ ':method': 'POST', ...headers }, { waitForTrailers: true });
  let trailers: http2.IncomingHttpHeaders = {};
  let status = 0;
  let body = '';
  stream.on('response', (answer) => {
    status = Number(answer[':status']);
  });
  stream.on('trailers', (given) => {
    trailers = given;
  });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-from-client': 'yes' }));
  stream.setEncoding('utf8').on('data', (chunk) => {
    body += chunk;
  });
  for (const part of parts) {
    stream.write(part);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stream.end();
  await once(stream, 'close').catch(() => undefined);
  return { status, trailers, body, code: stream.rstCode };
}

const CASES: Readonly<Record<string, () => Promise<unknown>>> = {
  headers: () =>
    call({
      path: '/a/../b/./c%41?x=1',
      headers: {
        'x-forwarded-client-cert': 'By=me',
        'x-envoy-max-retries': '9',
        'keep-alive': 'x',
        'proxy-connection': 'x',
        'x-hop': '1',
        connection: 'x-hop',
        'x-two': ['1', '2'],
      },
    }),
  post: () => call({ method: 'POST', path: '/post' }, (request) => request.end('hello')),
  large: async () => {
    const answer = await call({ path: '/big?size=8000000' });
    return { status: answer.status, bytes: answer.body.length };
  },
  upload: async () => {
    const answer = await call({ method: 'POST', path: '/up' }, (request) => {
      for (let i = 0; i < 64; i++) request.write(Buffer.alloc(65_536, 'u'));
      request.end();
    });
    return { status: answer.status, bytes: JSON.parse(answer.body).bytes };
  },
  trailers: () =>
    call({ method: 'POST', path: '/t', headers: { trailer: 'x-check', te: 'trailers' } }, (request) => {
      request.write('body');
      request.addTrailers({ 'x-check': 'sum' });
      request.end();
    }),
  continue: () =>
    call({ method: 'PUT', path: '/c', headers: { expect: '100-continue', 'content-length': '4' } }, (request) => {
      request.once('continue', () => request.end('body'));
    }),
  hints: async () => {
    const links: unknown[] = [];
    const answer = await call({ path: '/hints' }, (request) => {
      request.on('information', ({ headers }) => links.push(headers.link));
      request.end();
    });
    return { status: answer.status, links };
  },
  head: () => call({ method: 'HEAD', path: '/h' }),
  early: () =>
    call({ method: 'POST', path: '/early' }, (request) => {
      request.on('error', () => {});
      request.write(Buffer.alloc(100_000));
    }),
  abort: async () => {
    const request = http.request({ host: HOST, port: 8080, path: '/abort' }).end();
    request.on('error', () => {});
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const error = await new Promise((resolve) => {
      response.once('error', (cause: NodeJS.ErrnoException) => resolve(cause.code));
      response.once('end', () => resolve('whole'));
      response.resume();
    });
    return { status: response.statusCode, error };
  },
  upgrade: async () => {
    const request = http.request({
      host: HOST,
      port: 8080,
      headers: { connection: 'Upgrade', upgrade: 'echo', 'sec-websocket-key': 'k' },
    });
    request.end();
    const [response, socket] = (await once(request, 'upgrade')) as [http.IncomingMessage, net.Socket];
    socket.write('ping');
    const [echoed] = await once(socket, 'data');
    socket.end();
    await once(socket, 'close');
    return { status: response.statusCode, protocol: response.headers.upgrade, echoed: String(echoed) };
  },
  keepalive: async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const seen: (number | undefined)[] = [];
    for (let i = 0; i < 20; i++) seen.push((await call({ agent, path: `/k${i}` })).status);
    agent.destroy();
    return seen.every((status) => status === 200);
  },
  noHost: () => raw(8080, 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n'),
  smuggleBoth: () =>
    raw(8080, 'POST / HTTP/1.1\r\nhost: server\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'),
  smuggleTwoLengths: () =>
    raw(8080, 'POST / HTTP/1.1\r\nhost: server\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde'),
  smuggleCoding: () => raw(8080, 'POST / HTTP/1.1\r\nhost: server\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n'),
  obsFold: () => raw(8080, 'GET / HTTP/1.1\r\nhost: server\r\nx-a: 1\r\n 2\r\n\r\n'),
  bareLf: () => raw(8080, 'GET / HTTP/1.1\nhost: server\n\n'),
  nul: () => raw(8080, 'GET / HTTP/1.1\r\nhost: server\r\nx-a: 1\x002\r\n\r\n'),
  manyHeaders: () =>
    raw(8080, `GET / HTTP/1.1\r\nhost: server\r\n${'x-a: 1\r\n'.repeat(150)}connection: close\r\n\r\n`),
  hugeHeader: () => raw(8080, `GET / HTTP/1.1\r\nhost: server\r\nx-a: ${'y'.repeat(70_000)}\r\n\r\n`),
  connectInside: () => raw(8080, 'CONNECT other:80 HTTP/1.1\r\nhost: other:80\r\n\r\n'),
  h2: () => session((client) => exchange(client, { ':path': '/echo' }, ['one ', 'two '])),
  grpcUnary: () =>
    session((client) =>
      exchange(client, { ':path': '/pkg.S/M', 'content-type': 'application/grpc', te: 'trailers' }, ['m']),
    ),
  grpcServerStream: () =>
    session((client) =>
      exchange(client, { ':path': '/push', 'content-type': 'application/grpc', te: 'trailers' }, ['m']),
    ),
  grpcBidi: () =>
    session(async (client) => {
      const stream = client.request({ ':method': 'POST', ':path': '/S/Bidi', 'content-type': 'application/grpc' });
      const got: string[] = [];
      for (const word of ['a', 'b', 'c']) {
        stream.write(word);
        const [chunk] = await once(stream, 'data');
        got.push(String(chunk));
      }
      stream.end();
      await once(stream, 'close');
      return got;
    }),
  h2Parallel: () =>
    session(async (client) => {
      const all = await Promise.all(
        Array.from({ length: 50 }, (_, i) => exchange(client, { ':path': '/echo' }, [`part ${i}`])),
      );
      return all.filter(({ status, body }, i) => status === 200 && body === `part ${i}`).length;
    }),
  h2Reset: () => session((client) => exchange(client, { ':path': '/reset' }, [])),
  h2OnHttp1: () => session((client) => exchange(client, { ':path': '/over' }, ['x']), 8080),
  serverFirst: () => raw(8082, 'quit', { half: true }),
  tls: () => raw(8083, Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0])),
};

const name = process.argv[2] ?? '';
const found = CASES[name];
if (!found) throw new Error(`no case ${name}`);
const limit = setTimeout(() => {
  console.log(JSON.stringify({ failed: 'timeout' }));
  process.exit(1);
}, 2 * WAIT_MS);
try {
  console.log(JSON.stringify(await found()));
} catch (error) {
  console.log(JSON.stringify({ failed: String(error) }));
}
clearTimeout(limit);
process.exit(0);
