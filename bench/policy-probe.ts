/**
 * Runs in the client pod: calls `http://host:port/1k` again and again, each time over a new connection, and prints
 * `allowed <ms>` or `denied <ms>` (Unix time) whenever the answer changes. Ends with its standard input.
 */
import { get } from 'node:http';

const [host = '', port = ''] = process.argv.slice(2);
let last: string | undefined;
let running = true;
process.stdin.resume().on('end', () => {
  running = false;
});

function isAllowed(): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/1k', agent: false, timeout: 2_000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode === 200);
    });
    request.once('error', () => resolve(false));
    request.once('timeout', () => request.destroy());
  });
}

while (running) {
  const now = (await isAllowed()) ? 'allowed' : 'denied';
  if (now !== last) console.log(`${now} ${performance.timeOrigin + performance.now()}`);
  last = now;
}
