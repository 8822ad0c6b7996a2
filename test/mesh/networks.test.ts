/** Two networks: the client's tunnel reaches a gateway, and through it, in a tunnel of its own, the server's. */
import { Socket } from 'node:net';
import test from 'ava';
import { connectTcp, type IpPort, listenTcp, type Netns } from 'culvert-netns';
import { TUNNEL_MARK } from '../../src/model/ports.ts';
import { gatewayAt, memberOf, service, vip } from '../support/mesh-objects.ts';
import { call, connectApp, eventually, exchange, serveEcho } from './apps.ts';
import { Mesh, type Pod } from './mesh.ts';
import { Wire } from './wire.ts';

const HOST = 'server.default.svc.cluster.local';
const VIP = { ip: '10.96.0.1', port: 80 };
const SERVER_ID = 'spiffe://cluster.local/ns/default/sa/server';
const RELAY_PORT = 9_000;

interface Networks extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly client: Pod;
  readonly server: Pod;
}

/** The gateway ends the outer tunnel and hands what is inside to the server's 15008. */
async function networks(subjectAltNames: readonly string[]): Promise<Networks> {
  const mesh = await Mesh.start({ networks: { a: 'one', b: 'two' } });
  const client = await mesh.pod('client', { fields: { network: 'one' } });
  const gateway = await mesh.pod('gateway', {
    node: 'b',
    fields: { network: 'two', applicationTunnel: { protocol: 'NONE', port: RELAY_PORT } },
  });
  const server = await mesh.pod('server', {
    node: 'b',
    fields: {
      network: 'two',
      networkGateway: gatewayAt(gateway.ip4, 15_008, 'two'),
      services: memberOf({ [`default/${HOST}`]: { 80: 8080 } }),
    },
  });
  mesh.update(service({ name: 'server', addresses: [vip(VIP.ip, 32, 'one')], subjectAltNames }));
  const relay = serveRelay(gateway.netns, RELAY_PORT, { ip: server.ip4, port: 15_008 });
  return {
    mesh,
    client,
    server,
    async [Symbol.asyncDispose]() {
      relay[Symbol.dispose]();
      await mesh[Symbol.asyncDispose]();
    },
  };
}

test('a service of another network is reached through its gateway, end to end for the server alone', async (t) => {
  await using all = await networks([SERVER_ID]);
  const { mesh, client, server } = all;
  using echo = serveEcho(server.netns);
  await using wire = await Wire.listen(mesh.fabric);
  const live = await connectApp(client.netns, VIP);
  t.is(await exchange(live, 'through two tunnels'), 'through two tunnels');
  t.is(echo.heads.length, 1);
  const opened = await eventually('opened', async () => series(await mesh.metrics('a'), 'connections_opened'));
  t.regex(opened, /destination_workload="server"/, 'as the answer described it');
  t.regex(opened, new RegExp(`destination_principal="${SERVER_ID}"`));
  t.regex(opened, new RegExp(`destination_service="${HOST}"`));
  t.regex(opened, /response_flags="-".* 1$/);
  t.is(series(await mesh.metrics('a'), 'connections_closed'), undefined, 'it is still open');
  live.end();
  const closed = await eventually('closed', async () => series(await mesh.metrics('a'), 'connections_closed'));
  t.is(labels(closed), labels(opened));
  const line = await eventually('log', () => mesh.lines('a', 'connection complete', `dst.hbone_addr=${HOST}:80`)[0]);
  t.regex(line, /bytes_sent=19 bytes_recv=19/);
  const inbound = await eventually('inbound log', () =>
    mesh
      .lines('b', 'connection complete', 'src.identity="spiffe://cluster.local/ns/default/sa/client"')
      .find((found) => found.includes('dst.workload="server"')),
  );
  t.false(inbound.includes('error='));
  await eventually('packets are written', () => wire.showsPort(15_008));
  t.false(wire.shows('through two tunnels'));
});

test('control: a server whose identity the service does not name is not trusted behind a gateway', async (t) => {
  await using all = await networks(['spiffe://cluster.local/ns/default/sa/other']);
  const { mesh, client, server } = all;
  using echo = serveEcho(server.netns);
  const answer = await call(client.netns, VIP, 'hi').catch(() => '');
  t.is(answer.toString(), '');
  t.deepEqual(echo.heads, []);
  const opened = await eventually('opened at the failure', async () =>
    series(await mesh.metrics('a'), 'connections_opened'),
  );
  t.regex(opened, /destination_workload="unknown".* 1$/);
  const failed = await eventually('failed', async () => series(await mesh.metrics('a'), 'connections_failed'));
  t.regex(failed, /response_flags="TLS_FAILURE".* 1$/);
});

test('control: a pod of another network has no address here', async (t) => {
  await using all = await networks([SERVER_ID]);
  const { mesh, client, server } = all;
  mesh.update(service({ name: 'server', addresses: [vip(VIP.ip, 32, 'two')], subjectAltNames: [SERVER_ID] }));
  using echo = serveEcho(server.netns);
  await call(client.netns, VIP, 'hi').catch(() => '');
  t.deepEqual(echo.heads, []);
});

/** The client side's series of one counter. */
function series(metrics: string, counter: string): string | undefined {
  return metrics.split('\n').find((line) => line.startsWith(`istio_tcp_${counter}_total{reporter="source"`));
}

function labels(line: string): string {
  return line.slice(line.indexOf('{'));
}

/** Joins what arrives with `to`, past the capture of the namespace. */
function serveRelay(netns: Netns, port: number, to: IpPort): Disposable {
  const sockets = new Set<Socket>();
  const own = (fd: number): Socket => {
    const socket = new Socket({ fd, allowHalfOpen: true });
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  };
  const listener = listenTcp(netns, { ip: '0.0.0.0', port }, ({ fd }) => {
    const near = own(fd);
    connectTcp(netns, { to, mark: TUNNEL_MARK, timeoutMs: 5_000 }).then(
      (farFd) => {
        const far = own(farFd);
        near.on('close', () => far.destroy());
        far.on('close', () => near.destroy());
        near.pipe(far).pipe(near);
      },
      () => near.destroy(),
    );
  });
  return {
    [Symbol.dispose]() {
      listener[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
    },
  };
}
