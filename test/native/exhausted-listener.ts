/** Program for tcp.test.ts: runs out of descriptors with a connection in the queue, then frees them. */
import { closeSync, openSync } from 'node:fs';
import { type AcceptedSocket, closeFd, connectTcp, listenTcp } from 'culvert-netns';
import { until } from './namespace.ts';

const accepted: AcceptedSocket[] = [];
const listener = listenTcp(undefined, { ip: '127.0.0.1', port: 0 }, (socket) => accepted.push(socket));
const connecting = connectTcp(undefined, { to: listener.address, timeoutMs: 10_000 });
const hoard: number[] = [];
try {
  for (;;) hoard.push(openSync('/dev/null', 'r'));
} catch {
  // EMFILE: that is the aim.
}
const fd = await connecting;
await until(() => listener.pauses >= 2);
const acceptedWhileFull = accepted.length;
for (const open of hoard) closeSync(open);
await until(() => accepted.length > 0);
const result = { pauses: listener.pauses, acceptedWhileFull, acceptedAfter: accepted.length };
listener[Symbol.dispose]();
for (const socket of accepted) closeFd(socket.fd);
closeFd(fd);
console.log(JSON.stringify(result));
