/**
 * What peers may do wrong on the HBONE port, each beside a peer that does it right: bad certificates, handshakes that do
 * not end, floods and unknown frames. Registered by `registerEngineSuite`.
 */
import { once } from 'node:events';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import anyTest, { type TestFn } from 'ava';
import type { TlsCredentials } from '../../src/engine/index.ts';
import { type Identity, identityUri } from '../../src/model/identity.ts';
import { type CertificateAuthority, PrivateKey, selfIssuing } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { leafOf } from './leaf-certificate.ts';
import { NEVER, tunnelTo } from './pair.ts';
import { dial, echo, howItEnds, openRawSession, readAll, request, startApplication, startRawServer } from './peers.ts';
import { CLIENT, type EngineFactory, newAuthority, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;
const ELSEWHERE: Identity = { ...CLIENT, trustDomain: 'elsewhere' };
const DAY_MS = 86_400_000;

interface BadCertificate {
  readonly what: string;
  readonly uris: readonly string[];
  readonly expiredForMs?: number;
  readonly isAccepted?: true;
}
const certificates: readonly BadCertificate[] = [
  { what: 'that is right', uris: [identityUri(CLIENT)], isAccepted: true },
  { what: 'that has expired', uris: [identityUri(CLIENT)], expiredForMs: DAY_MS },
  { what: 'without a name', uris: [] },
  { what: 'whose name is no SPIFFE id', uris: ['https://cluster.local/ns/shop/sa/client'] },
  { what: 'with a path of another form', uris: [`${identityUri(CLIENT)}/more`] },
  { what: 'whose first of two names is of another trust domain', uris: [identityUri(ELSEWHERE), identityUri(CLIENT)] },
];

/** A leaf of the authority's own key is not to be had: the tests make a root of theirs. */
async function strange(uris: readonly string[], expiredForMs: number | undefined): Promise<TlsCredentials> {
  const now = Date.now();
  const times = {
    notBeforeMs: now - 3 * DAY_MS,
    notAfterMs: expiredForMs === undefined ? now + DAY_MS : now - expiredForMs,
  };
  return leafOf(await PrivateKey.generate(), uris, times);
}

export function registerHostilePeers(create: EngineFactory): void {
  for (const { what, uris, expiredForMs, isAccepted } of certificates) {
    test(`a client with a certificate ${what} ${isAccepted ? 'is heard' : 'delivers nothing'}`, async (t) => {
      await using application = await startApplication(echo);
      const leaf = await strange(uris, expiredForMs);
      const own = await leafOf(await PrivateKey.generate(), [identityUri(SERVER)], {
        notBeforeMs: Date.now() - DAY_MS,
        notAfterMs: Date.now() + DAY_MS,
      });
      await using rig = await startRig(create, {
        credentials: async () => own,
        inboundHbone: () => ({ action: 'forward', to: { ip: '127.0.0.1', port: application.port } }),
      });
      const session = await openRawSession((await rig.listen('inbound-hbone')).port, leaf);
      const answer = await request(session, '10.0.0.1:80').catch(() => undefined);
      t.is(answer?.status, isAccepted ? 200 : undefined);
      t.is(rig.streams.length, isAccepted ? 1 : 0);
      if (!isAccepted) {
        await eventually(() => rig.failures.length === 1, 'the failure to be told');
        t.is(rig.failures[0]?.flag, 'TLS_FAILURE');
      }
      session.destroy();
    });

    // as for the client, with the server's name; a server is accepted by any of its names
    const names = uris.map((uri) => uri.replace('sa/client', 'sa/server'));
    const isSafe = isAccepted ?? (expiredForMs === undefined && names.includes(identityUri(SERVER)));
    test(`a server with a certificate ${what} ${isSafe ? 'is sent to' : 'is not sent to'}`, async (t) => {
      let streams = 0;
      await using peer = await startRawServer(await strange(names, expiredForMs), (stream) => {
        streams += 1;
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      });
      const own = await strange([identityUri(CLIENT)], undefined);
      await using rig = await startRig(create, {
        credentials: async () => own,
        outbound: () => tunnelTo(peer.port),
      });
      const socket = await dial((await rig.listen('outbound')).port);
      socket.end('secret');
      t.is(String(await readAll(socket).catch(() => '')), isSafe ? 'secret' : '');
      t.is(streams, isSafe ? 1 : 0);
      await eventually(() => rig.outcomes.size === 1, 'the connection to end');
      t.is([...rig.outcomes.values()][0]?.flag, isSafe ? '-' : 'TLS_FAILURE');
    });
  }

  test('a handshake that does not go on ends at its deadline, and nobody waits for it', async (t) => {
    await using rig = await startRig(create, {}, { connectTimeoutMs: 300 });
    const { port } = await rig.listen('inbound-hbone');
    const silent = await dial(port);
    silent.write(Buffer.from([0x16, 0x03, 0x01])); // the first bytes of a ClientHello
    const session = await openRawSession(port, await selfIssuing(rig.authority).fetch(CLIENT, NEVER));
    t.is((await request(session, '10.0.0.1:80')).status, 503);
    t.not(await howItEnds(silent), 'data');
    await eventually(() => rig.failures.length === 1, 'the failure to be told');
    session.destroy();
  });

  test('a peer that vanishes in the middle resets the application, so that half an answer is never taken for all', async (t) => {
    const authority = await newAuthority();
    await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half of the', () => stream.session?.destroy());
    });
    await using rig = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
    const socket = await dial((await rig.listen('outbound')).port);
    t.is(await howItEnds(socket), 'ECONNRESET');
    await eventually(() => rig.outcomes.size === 1, 'the connection to end');
  });

  test('a flood of resets leaves others alone and nothing behind', async (t) => {
    await using application = await startApplication(echo);
    await using rig = await startRig(create, {
      inboundHbone: () => ({ action: 'forward', to: { ip: '127.0.0.1', port: application.port } }),
    });
    const { port } = await rig.listen('inbound-hbone');
    const credentials = await selfIssuing(rig.authority).fetch(CLIENT, NEVER);
    const flood = await openRawSession(port, credentials);
    for (let round = 0; round < 20 && !flood.destroyed; round++) {
      for (let i = 0; i < 100 && !flood.destroyed; i++) {
        const stream = flood.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:80' }, { endStream: false });
        stream.on('error', () => {});
        stream.close(8);
      }
      await new Promise(setImmediate);
    }
    const session = await openRawSession(port, credentials);
    const answer = await request(session, '10.0.0.1:80');
    t.is(answer.status, 200);
    answer.stream.end('others');
    t.is(String(await readAll(answer.stream)), 'others');
    flood.destroy();
    session.destroy();
    await eventually(() => rig.engine.stats().connections === 0, 'all connections to end');
  });

  test('unknown frames are ignored', async (t) => {
    await using application = await startApplication(echo);
    await using rig = await startRig(create, {
      inboundHbone: () => ({ action: 'forward', to: { ip: '127.0.0.1', port: application.port } }),
    });
    const socket = await connectRaw((await rig.listen('inbound-hbone')).port, rig.authority);
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(frame(0x4, 0, 0, Buffer.alloc(0))); // SETTINGS
    socket.write(frame(0xfa, 0xff, 0, Buffer.from('what is this')));
    socket.write(frame(0x1, 0x4, 1, connectHeaders('10.0.0.1:80')));
    socket.write(frame(0xfb, 0, 1, Buffer.from('and this')));
    socket.write(frame(0x0, 0x1, 1, Buffer.from('hello'))); // DATA with END_STREAM
    const heard: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => heard.push(chunk));
    await eventually(() => Buffer.concat(heard).includes('hello'), 'the echo');
    t.deepEqual(
      rig.streams.map(({ authority }) => authority),
      ['10.0.0.1:80'],
    );
    socket.destroy();
  });

  test('bytes that are no HTTP/2 end the session and are told', async (t) => {
    await using rig = await startRig(create, {});
    const socket = await connectRaw((await rig.listen('inbound-hbone')).port, rig.authority);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    socket.resume();
    await once(socket, 'close');
    await eventually(() => rig.failures.length === 1, 'the failure to be told');
    t.is(rig.failures[0]?.flag, 'H2_HANDSHAKE_FAILURE');
    t.is(rig.streams.length, 0);
  });
}

async function connectRaw(port: number, authority: CertificateAuthority): Promise<TLSSocket> {
  const { privateKeyPem, certChainPem } = await selfIssuing(authority).fetch(CLIENT, NEVER);
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    key: privateKeyPem,
    cert: certChainPem,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** RFC 9113 section 4.1. */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** RFC 7541 section 6.2.2: literals without indexing, names 2 (`:method`) and 1 (`:authority`) of the static table. */
function connectHeaders(authority: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x02, 7]),
    Buffer.from('CONNECT'),
    Buffer.from([0x01, authority.length]),
    Buffer.from(authority),
  ]);
}
