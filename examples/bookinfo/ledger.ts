/** A raw TCP service: keeps count of the lines it gets on a connection and sends each back with its number. */
import net from 'node:net';

const LINE_BYTES_MAX = 1_024;

const server = net.createServer((socket) => {
  let pending = '';
  let count = 0;
  socket.setEncoding('utf8').on('error', () => socket.destroy());
  socket.on('data', (chunk: string) => {
    const lines = (pending + chunk).split('\n');
    pending = lines.pop() ?? '';
    if (pending.length > LINE_BYTES_MAX) return void socket.destroy();
    for (const line of lines) {
      count += 1;
      socket.write(`${count} ${line}\n`);
    }
  });
});
server.listen(9000, '::');
process.once('SIGTERM', () => process.exit(0));
