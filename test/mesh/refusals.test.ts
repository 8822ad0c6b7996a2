/** What the tunnel refuses: calls that a hostile pod or a hostile peer can make. */
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import test from 'ava';
import { connectTcp, type IpPort, type Netns } from 'culvert-netns';
import { systemClock } from '../../src/core/system-clock.ts';
import type { Identity } from '../../src/model/identity.ts';
import { CertificateAuthority, type Svid, selfIssuing } from '../../src/pki/index.ts';
import { memberOf, service } from '../support/mesh-objects.ts';
import { call, connectApp, eventually, serveEcho } from './apps.ts';
import { Mesh, type Pod } from './mesh.ts';

const CLIENT: Identity = { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'client' };
const KEY = 'default/server.default.svc.cluster.local';

/** An mTLS connection made by hand, outside of any tunnel. */
async function dialTls(netns: Netns, to: IpPort, svid: Svid | undefined): Promise<{ tls: TLSSocket; socket: Socket }> {
  const socket = new Socket({ fd: await connectTcp(netns, { to, timeoutMs: 5_000 }) });
  const credentials = svid ? { key: svid.privateKeyPem, cert: svid.certChainPem } : {};
  const tls = connectTls({ socket, ALPNProtocols: ['h2'], rejectUnauthorized: false, ...credentials });
  tls.on('error', () => {});
  await Promise.race([once(tls, 'secureConnect'), once(tls, 'close')]);
  return { tls, socket };
}

interface Ask {
  readonly authority: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The status of one request over an own session, or why there was none. */
async function ask(
  netns: Netns,
  to: IpPort,
  svid: Svid | undefined,
  { authority, method = 'CONNECT', headers = {} }: Ask,
): Promise<string> {
  const { tls, socket } = await dialTls(netns, to, svid);
  if (tls.destroyed) return 'closed';
  const session = connectHttp2(`https://${to.ip}`, { createConnection: () => tls });
  session.on('error', () => {});
  try {
    const pseudo =
      method === 'CONNECT'
        ? { ':method': method, ':authority': authority }
        : { ':method': method, ':path': '/', ':scheme': 'https', ':authority': authority };
    const stream = session.request({ ...pseudo, ...headers });
    return await new Promise<string>((resolve) => {
      stream.on('response', (answer) => resolve(String(answer[constants.HTTP2_HEADER_STATUS])));
      stream.on('error', () => resolve('closed'));
      stream.on('close', () => resolve('closed'));
      session.on('close', () => resolve('closed'));
    });
  } finally {
    session.destroy();
    socket.destroy(); // a destroyed session alone would wait for its peer
  }
}

interface Scene extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly server: Pod;
  /** Outside of the mesh, where a hostile peer would be. */
  readonly peer: Pod;
  readonly svid: Svid;
  readonly to: IpPort;
  readonly peers: readonly string[];
}

async function scene(): Promise<Scene> {
  const mesh = await Mesh.start();
  mesh.update(service({ name: 'server', ports: { 80: 8080 } }), service({ name: 'named', ports: { 80: 0 } }));
  const server = await mesh.pod('server', { node: 'b', fields: { services: memberOf({ [KEY]: { 80: 8080 } }) } });
  const peer = await mesh.pod('peer', { meshed: false });
  const echo = serveEcho(server.netns);
  const svid = await selfIssuing(mesh.authority).fetch(CLIENT, AbortSignal.timeout(5_000));
  return {
    mesh,
    server,
    peer,
    svid,
    to: { ip: server.ip4, port: 15_008 },
    peers: echo.peers,
    async [Symbol.asyncDispose]() {
      echo[Symbol.dispose]();
      await mesh[Symbol.asyncDispose]();
    },
  };
}

/** `authority` may name the server pod as `SERVER` and the peer as `PEER`. */
const answers = test.macro(async (t, request: Ask, status: string, log?: string) => {
  await using all = await scene();
  const { mesh, server, peer, svid, to } = all;
  const fill = (text: string): string => text.replace('SERVER', server.ip4).replace('PEER', peer.ip4);
  t.is(await ask(peer.netns, to, svid, { ...request, authority: fill(request.authority) }), status);
  if (status !== '200') t.deepEqual(all.peers, []);
  if (log === undefined) return;
  await eventually(`log: ${fill(log)}`, () => mesh.lines('b', fill(log))[0]);
  t.regex(await mesh.metrics('b'), /culvert_connections_refused_total\{reporter="destination",reason="\w+"\} 1/);
});

test('control: a CONNECT to the pod itself is answered with 200', answers, { authority: 'SERVER:8080' }, '200');
test(
  'a service name is resolved to the port of the pod',
  answers,
  { authority: 'server.default.svc.cluster.local:80' },
  '200',
);
test('another address gets 400', answers, { authority: 'PEER:8080' }, '400', 'error="ip mismatch: SERVER != PEER"');
test('loopback gets 400', answers, { authority: '127.0.0.1:8080' }, '400', 'error="ip mismatch: SERVER != 127.0.0.1"');
test('IPv6 loopback gets 400', answers, { authority: '[::1]:8080' }, '400', 'error="ip mismatch: SERVER != ::1"');
for (const port of [15_001, 15_006, 15_008]) {
  test(
    `port ${port} gets 503`,
    answers,
    { authority: `SERVER:${port}` },
    '503',
    'attempted recursive call to ourselves',
  );
}
test(
  'an authority that is none gets 400',
  answers,
  { authority: 'nonsense' },
  '400',
  'no valid authority pseudo header: nonsense',
);
test(
  'an unknown host gets 503',
  answers,
  { authority: 'no.such.host:80' },
  '503',
  'no service or workload for hostname: no.such.host',
);
test(
  'a port that cannot be resolved gets 503',
  answers,
  { authority: 'named.default.svc.cluster.local:80' },
  '503',
  'found, but cannot resolve port',
);
test(
  'another method gets 400',
  answers,
  { authority: 'SERVER:8080', method: 'GET' },
  '400',
  'expected method CONNECT, got GET',
);
test('a port nobody listens on gets 503', answers, { authority: 'SERVER:9' }, '503');

const handshakes = test.macro(async (t, identity: Identity | undefined, status: string) => {
  await using all = await scene();
  const { peer, to, mesh } = all;
  const isForeign = identity !== undefined && identity.trustDomain !== 'cluster.local';
  const authority = isForeign
    ? await CertificateAuthority.ephemeral({ trustDomain: identity.trustDomain, clock: systemClock })
    : mesh.authority;
  const svid = identity && (await selfIssuing(authority).fetch(identity, AbortSignal.timeout(5_000)));
  t.is(await ask(peer.netns, to, svid, { authority: `${to.ip}:8080` }), status);
  if (status === '200') await eventually('the application to be called', () => all.peers.length > 0);
  t.is(all.peers.length, status === '200' ? 1 : 0);
});
test('a client without certificate is not heard', handshakes, undefined, 'closed');
test('a client of another authority is not heard', handshakes, { ...CLIENT, trustDomain: 'other.domain' }, 'closed');
test('control: a client of the mesh is heard', handshakes, CLIENT, '200');

test('a client of another trust domain with a certificate of the same authority is not heard', async (t) => {
  await using all = await scene();
  const { peer, to, mesh } = all;
  const svid = await selfIssuing(mesh.authority).fetch(
    { ...CLIENT, trustDomain: 'other.domain' },
    AbortSignal.timeout(5_000),
  );
  t.is(await ask(peer.netns, to, svid, { authority: `${to.ip}:8080` }), 'closed');
  await eventually('log', () => mesh.lines('b', 'expected trustdomain (cluster.local)')[0]);
});

test('plaintext to 15008 and noise are closed, and the tunnel goes on', async (t) => {
  await using all = await scene();
  const { peer, to, svid } = all;
  for (const noise of ['GET / HTTP/1.1\r\n\r\n', '\u0016\u0003\u0001garbage', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
    await call(peer.netns, to, noise);
  }
  t.deepEqual(all.peers, []);
  t.is(await ask(peer.netns, to, svid, { authority: `${to.ip}:8080` }), '200');
});

test('redirected plaintext to the ports of the tunnel is dropped', async (t) => {
  await using all = await scene();
  const { peer, server, mesh } = all;
  for (const port of [15_001, 15_006]) {
    t.is((await call(peer.netns, { ip: server.ip4, port }, 'hi').catch(() => Buffer.alloc(0))).toString(), '');
  }
  await eventually('log', () => mesh.lines('b', 'attempted recursive call to ourselves').length >= 2);
  t.deepEqual(all.peers, []);
});

test('a captured pod cannot call the tunnel through itself', async (t) => {
  await using mesh = await Mesh.start();
  const pod = await mesh.pod('client');
  for (const ip of ['127.0.0.1', pod.ip4]) {
    for (const port of [15_001, 15_006, 15_008]) {
      const got = await call(pod.netns, { ip, port }, 'hi').catch(() => Buffer.alloc(0));
      t.is(got.toString('latin1').includes('hi'), false, `${ip}:${port}`);
    }
  }
  const other = await mesh.pod('other', { node: 'b' });
  using _echo = serveEcho(other.netns);
  t.is((await call(pod.netns, { ip: other.ip4, port: 8080 }, 'still here')).toString(), 'still here');
});

test('what a client claims in headers is not believed', async (t) => {
  await using all = await scene();
  const { peer, to, svid, server, mesh } = all;
  const headers = {
    forwarded: 'for="1.2.3.4:5";host=evil',
    baggage: 'k8s.namespace.name=kube-system',
    traceparent: 'x',
  };
  t.is(await ask(peer.netns, to, svid, { authority: `${server.ip4}:8080`, headers }), '200');
  await eventually('the application to be called', () => all.peers.length > 0);
  t.deepEqual(all.peers, [peer.ip4]);
  const line = await eventually('log', () => mesh.lines('b', 'connection complete')[0]);
  t.true(
    line.includes(`src.addr=${peer.ip4}:`) && line.includes('src.workload="peer"') && !line.includes('kube-system'),
  );
});

test('traffic of a pod that the control plane places on another node is dropped', async (t) => {
  await using mesh = await Mesh.start();
  const pod = await mesh.pod('client');
  const outside = await mesh.fabric.add();
  using echo = serveEcho(outside.netns);
  mesh.update({ ...pod.workload, node: 'elsewhere' });
  const socket = await connectApp(pod.netns, { ip: outside.ip4, port: 8080 });
  socket.resume();
  await eventually('closed', () => socket.readableEnded || socket.destroyed);
  await eventually(
    'log',
    () => mesh.lines('a', 'failed to fetch information about local workload: client.default (client)')[0],
  );
  t.deepEqual(echo.peers, []);
  socket.destroy();
});
