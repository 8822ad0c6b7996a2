/** The DNS proxy of a pod: captured queries over UDP and TCP, and forwards from inside the pod. */
import { createSocket } from 'node:dgram';
import { Socket } from 'node:net';
import test from 'ava';
import { bindUdp, connectTcp, type Netns } from 'culvert-netns';
import { service, vip } from '../support/mesh-objects.ts';
import { Fabric } from './fabric.ts';
import { Mesh } from './mesh.ts';

const A = 1;

function query(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, Buffer.from([0, 0, A, 0, 1])]);
}

interface Answer {
  readonly rcode: number;
  readonly isAuthoritative: boolean;
  /** Data of the last record, as an IPv4 address. */
  readonly ip: string;
}

function read(message: Buffer): Answer {
  const flags = message.readUInt16BE(2);
  const hasAnswer = message.readUInt16BE(6) > 0;
  return {
    rcode: flags & 0xf,
    isAuthoritative: (flags & 0x400) !== 0,
    ip: hasAnswer ? [...message.subarray(-4)].join('.') : '',
  };
}

/** Asks as an application does; undefined when no answer comes within a second. */
async function ask(netns: Netns, server: string, name: string): Promise<Answer | undefined> {
  const socket = createSocket('udp4');
  try {
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), 1_000);
      socket.on('message', (message) => {
        clearTimeout(timer);
        resolve(read(message));
      });
      socket.on('error', () => {});
      socket.bind({ fd: bindUdp(netns, { ip: '0.0.0.0', port: 0 }) }, () => socket.send(query(name), 53, server));
    });
  } finally {
    socket.close();
  }
}

async function askTcp(netns: Netns, server: string, name: string): Promise<Answer> {
  const socket = new Socket({ fd: await connectTcp(netns, { to: { ip: server, port: 53 }, timeoutMs: 5_000 }) });
  try {
    return await new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('data', (chunk: Buffer) => resolve(read(chunk.subarray(2))));
      const message = query(name);
      socket.write(Buffer.concat([Buffer.from([0, message.length]), message]));
    });
  } finally {
    socket.destroy();
  }
}

/** Answers every query with NXDOMAIN and authority; remembers who asked. */
function serveNames(netns: Netns): Disposable & { readonly clients: readonly string[] } {
  const clients: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (message, client) => {
    clients.push(client.address);
    const answer = Buffer.from(message);
    answer.writeUInt16BE(0x8583, 2);
    socket.send(answer, client.port, client.address);
  });
  socket.bind({ fd: bindUdp(netns, { ip: '0.0.0.0', port: 53 }) });
  return { clients, [Symbol.dispose]: () => socket.close() };
}

const resolves = test.macro(async (t, meshed: boolean) => {
  // the nameserver is the first namespace of the mesh's fabric
  await using mesh = await Mesh.start({ nameservers: ['10.9.0.1'] });
  const nameserver = await mesh.fabric.add();
  t.is(nameserver.ip4, '10.9.0.1');
  using names = serveNames(nameserver.netns);
  mesh.update(service({ name: 'web', addresses: [vip('10.96.0.7')] }));
  const client = await mesh.pod('client', { meshed });
  const known = await ask(client.netns, nameserver.ip4, 'web');
  const unknown = await ask(client.netns, nameserver.ip4, 'www.example.com');
  t.is(unknown?.rcode, 3);
  if (!meshed) {
    t.deepEqual(known, { rcode: 3, isAuthoritative: true, ip: '' });
    t.deepEqual(names.clients, [client.ip4, client.ip4]);
    return;
  }
  t.deepEqual(known, { rcode: 0, isAuthoritative: true, ip: '10.96.0.7' });
  t.false(unknown?.isAuthoritative);
  t.deepEqual(names.clients, [client.ip4], 'forwarded from the address of the pod, and only what is unknown');
  t.deepEqual(await askTcp(client.netns, nameserver.ip4, 'web.default.svc.cluster.local'), {
    rcode: 0,
    isAuthoritative: true,
    ip: '10.96.0.7',
  });
  const metrics = await mesh.metrics('a');
  t.regex(
    metrics,
    /istio_dns_requests_total\{request_query_type="a",request_protocol="udp",source_canonical_service="client",source_canonical_revision="v1"\} 2/,
  );
  t.regex(metrics, /istio_dns_upstream_requests_total\{.*\} 1/);
});
test('a captured pod resolves services, and the rest is forwarded from inside the pod', resolves, true);
test('control: without capture the nameserver answers everything', resolves, false);

test('a fabric leaves nothing behind', async (t) => {
  const { existsSync } = await import('node:fs');
  let name = '';
  {
    await using fabric = await Fabric.create();
    ({ name } = await fabric.add());
    t.true(existsSync(`/run/netns/${name}`));
  }
  t.false(existsSync(`/run/netns/${name}`));
});
