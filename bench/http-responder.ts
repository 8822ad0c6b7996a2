/** Answers every HTTP/1.1 request with one kilobyte, as fast as this runtime can: the application of the engine benchmark. */
import { type AddressInfo, createServer } from 'node:net';

const BODY = 'c'.repeat(1_024);
const answer = (connection: string) =>
  Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${BODY.length}\r\nconnection: ${connection}\r\n\r\n${BODY}`);
const KEEP = answer('keep-alive');
const CLOSE = answer('close');

// wrk never cuts a request in two, and has one under way per connection
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    if (chunk.includes('Connection: close')) socket.end(CLOSE);
    else socket.write(KEEP);
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.once('disconnect', () => process.exit(0));
