/**
 * The destination of the protocol suite. 8080: HTTP/1.1. 8081: HTTP/2 with prior knowledge. 8082: a protocol in which the
 * server speaks first. 8083: TLS is not terminated here, the first bytes are told back. Says what reached it.
 */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';

http
  .createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://x');
    const chunks: Buffer[] = [];
    const told = () => ({
      method: request.method,
      url: request.url,
      headers: request.headers,
      trailers: request.trailers,
      body: Buffer.concat(chunks).toString().slice(0, 1_000),
      bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    });
    if (url.pathname === '/early') {
      response.writeHead(413, { connection: 'close' });
      response.end('too much');
      return;
    }
    if (url.pathname === '/stream') {
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      request.pipe(response);
      return;
    }
    if (url.pathname === '/abort') {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('half', () => request.socket.destroy());
      return;
    }
    if (url.pathname === '/big') {
      const size = Number(url.searchParams.get('size'));
      response.writeHead(200);
      let left = size;
      const block = Buffer.alloc(65_536, 'x');
      const write = (): void => {
        while (left > 0) {
          const part = block.subarray(0, Math.min(left, block.length));
          left -= part.length;
          if (!response.write(part)) return void response.once('drain', write);
        }
        response.end();
      };
      write();
      return;
    }
    if (url.pathname === '/hints') response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'HEAD') response.setHeader('trailer', 'x-sum');
      response.writeHead(Number(url.searchParams.get('status') ?? 200), {
        'set-cookie': ['a=1', 'b=2'],
        'x-from': 'server',
      });
      response.write(JSON.stringify(told()));
      if (request.method !== 'HEAD') response.addTrailers({ 'x-sum': 'complete' });
      response.end();
    });
  })
  .on('upgrade', (request, socket, head) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${request.headers.upgrade}\r\n\r\n`,
    );
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
  })
  .listen(8080, '::');

http2
  .createServer()
  .on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    if (headers[':path'] === '/reset') {
      stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    stream.respond(
      { ':status': 200, 'content-type': headers['content-type'] ?? 'text/plain' },
      { waitForTrailers: true },
    );
    let seen: Record<string, unknown> = {};
    stream.on('trailers', (trailers) => {
      seen = trailers;
    });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-trailers': JSON.stringify(seen) }));
    if (headers[':path'] === '/push') {
      for (let i = 0; i < 5; i++) stream.write(`message ${i}\n`);
      stream.resume();
      stream.on('end', () => stream.end());
      return;
    }
    stream.pipe(stream);
  })
  .listen(8081, '::');

net
  .createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.write('220 hello\n');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => socket.end(`bye ${text}`));
  })
  .listen(8082, '::');

net
  .createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (chunk) => socket.end(`got ${chunk[0]} ${chunk.length}`));
  })
  .listen(8083, '::');
