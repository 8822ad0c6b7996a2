// Answers with its host name and the caller's address. `/slow` never ends; `/exit` ends the process.
import http from 'node:http';

const server = http.createServer((request, response) => {
  if (request.url === '/exit') process.exit(3);
  if (request.url === '/slow') return void response.write('wait');
  response.end(`${process.env.HOSTNAME} ${request.socket.remoteAddress}\n`);
});
server.keepAliveTimeout = 600_000;
server.listen(8080, '::');
process.once('SIGTERM', () => process.exit(0));
