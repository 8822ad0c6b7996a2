/**
 * Runs in the client pod: opens `count` connections to `host:port`, prints `open <n>` when all are there, and holds them
 * until its standard input ends.
 */
import { connect, type Socket } from 'node:net';

const [host = '', port = '', count = ''] = process.argv.slice(2);
const sockets: Socket[] = [];
const AT_ONCE = 200;

async function openOne(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect(Number(port), host, resolve);
    socket.on('error', reject);
    sockets.push(socket);
  });
}

for (let opened = 0; opened < Number(count); opened += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, Number(count) - opened) }, openOne));
}
console.log(`open ${sockets.length}`);
process.stdin.resume().on('end', () => process.exit(0));
