/** What revocation lists do to handshakes and to live sessions. Registered by `registerEngineSuite`. */
import { once } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import { identityUri } from '../../src/model/identity.ts';
import { PrivateKey, RevocationLists } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { leafOf, revocationListOf } from './leaf-certificate.ts';
import { dial, echo, howItEnds, openRawSession, request, startApplication } from './peers.ts';
import { CLIENT, type EngineFactory, type Rig, SERVER, startRig } from './rig.ts';

const test = (anyTest as TestFn).serial;
const DAY_MS = 86_400_000;

async function newLeaf(uri: string) {
  const now = Date.now();
  return leafOf(await PrivateKey.generate(), [uri], { notBeforeMs: now - DAY_MS, notAfterMs: now + DAY_MS });
}

export function registerRevocation(create: EngineFactory): void {
  for (const revoked of ['client', 'server', 'nobody'] as const) {
    test(`a live session of a pair with ${revoked} revoked ${revoked === 'nobody' ? 'goes on' : 'is ended'}`, async (t) => {
      await using application = await startApplication(echo);
      const certificates = { client: await newLeaf(identityUri(CLIENT)), server: await newLeaf(identityUri(SERVER)) };
      const other = await newLeaf(identityUri(CLIENT));
      let lists = RevocationLists.none;
      const options = { revocations: () => lists };
      await using server = await startRig(
        create,
        {
          credentials: async () => certificates.server,
          inboundHbone: () => ({ action: 'forward', to: { ip: '127.0.0.1', port: application.port } }),
        },
        options,
      );
      const inbound = await server.listen('inbound-hbone');
      await using client = await startRig(
        create,
        {
          credentials: async () => certificates.client,
          outbound: () => ({
            action: 'hbone',
            session: {
              identity: CLIENT,
              expectedIdentities: [identityUri(SERVER)],
              peer: { ip: '127.0.0.1', port: inbound.port },
              sourceIp: '127.0.0.1',
            },
            connect: { authority: '10.0.0.1:80', headers: {} },
          }),
        },
        options,
      );
      const socket = await dial((await client.listen('outbound')).port);
      socket.write('x');
      await once(socket, 'data');
      lists = RevocationLists.parse(revocationListOf(revoked === 'nobody' ? other : certificates[revoked]));
      for (const { engine } of [server, client]) engine.recheckPeers();
      if (revoked === 'nobody') {
        socket.write('still');
        t.is(String((await once(socket, 'data'))[0]), 'still');
        socket.destroy();
        return;
      }
      t.is(await howItEnds(socket), 'ECONNRESET');
      // who rejects the peer says why; the peer sees a connection that ended
      t.is(await flagOf(revoked === 'client' ? server : client), 'CERT_REVOKED');
    });
  }

  test('a client whose certificate was revoked before is refused, another one is not', async (t) => {
    const [revoked, other] = [await newLeaf(identityUri(CLIENT)), await newLeaf(identityUri(CLIENT))];
    const own = await newLeaf(identityUri(SERVER));
    const lists = RevocationLists.parse(revocationListOf(revoked));
    await using rig = await startRig(create, { credentials: async () => own }, { revocations: () => lists });
    const { port } = await rig.listen('inbound-hbone');
    const session = await openRawSession(port, revoked);
    await t.throwsAsync(request(session, '10.0.0.1:80'));
    await eventually(() => rig.failures.length === 1, 'the failure to be told');
    t.is(rig.failures[0]?.flag, 'CERT_REVOKED');
    t.is(rig.streams.length, 0);
    const accepted = await openRawSession(port, other);
    t.is((await request(accepted, '10.0.0.1:80')).status, 503);
    for (const open of [session, accepted]) open.destroy();
  });
}

async function flagOf(rig: Rig): Promise<string | undefined> {
  await eventually(() => rig.outcomes.size === 1, 'the connection to end');
  return [...rig.outcomes.values()][0]?.flag;
}
