/**
 * Two pods of one engine, joined without TLS: everything but the encryption is as with a session between them.
 * Registered by `registerEngineSuite`.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import type { ForwardLocal, ResponseFlag } from '../../src/engine/index.ts';
import { identityUri } from '../../src/model/identity.ts';
import { eventually } from '../support/eventually.ts';
import { digest, forwardTo } from './pair.ts';
import { type Application, dial, echo, howItEnds, readAll, startApplication } from './peers.ts';
import { CLIENT, type EngineFactory, type Rig, type Script, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;

const join = (to: string, expected = [identityUri(SERVER)]): ForwardLocal => ({
  action: 'local',
  to,
  session: {
    identity: CLIENT,
    expectedIdentities: expected,
    peer: { ip: '127.0.0.1', port: 15_008 },
    sourceIp: '127.0.0.1',
  },
  connect: { authority: '127.0.0.1:80', headers: { baggage: 'k8s.namespace.name=shop', other: 'x' } },
});

interface Node extends AsyncDisposable {
  readonly rig: Rig;
  readonly port: number;
}

/** A node with the pods `client` and `server`. */
async function startNode(create: EngineFactory, script: Script): Promise<Node> {
  const rig = await startRig(create, script);
  const at = { ip: '127.0.0.1', port: 0, reusePort: false, transparent: false } as const;
  const outbound = await rig.engine.listen({ kind: 'outbound', owner: 'client', ...at });
  await rig.engine.listen({ kind: 'inbound-hbone', owner: 'server', ...at });
  return { rig, port: outbound.port, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

const to = (application: Application, decision = join('server')): Script => ({
  outbound: () => decision,
  inboundHbone: () => ({ ...forwardTo(application.port), responseHeaders: { baggage: 'service.name=s' } }),
});

export function registerLocalCases(create: EngineFactory): void {
  test('two pods of one node are joined without a session, and both sides are told', async (t) => {
    await using application = await startApplication(echo);
    await using node = await startNode(create, to(application));
    const data = randomBytes(3_000_000);
    const socket = await dial(node.port);
    const { localPort } = socket;
    socket.end(data);
    t.is(digest(await readAll(socket)), digest(data));
    await eventually(() => node.rig.outcomes.size === 2, 'both connections to end');
    for (const outcome of node.rig.outcomes.values()) {
      t.is(outcome.error, undefined);
      t.is(outcome.bytesReceived, data.length);
      t.is(outcome.bytesSent, data.length);
    }
    t.is(node.rig.opened.length, 2);
    t.is(node.rig.engine.stats().sessions, 0);
    const [stream] = node.rig.streams;
    t.like(stream, {
      owner: 'server',
      encrypted: false,
      peerIdentity: CLIENT,
      source: { ip: '127.0.0.1', port: localPort },
      localAddress: { ip: '127.0.0.1', port: 15_008 },
      method: 'CONNECT',
      authority: '127.0.0.1:80',
      headers: { baggage: ['k8s.namespace.name=shop'] },
    });
  });

  test('a connection that the destination’s side refuses never reaches the application', async (t) => {
    await using application = await startApplication(echo);
    await using node = await startNode(create, {
      ...to(application),
      inboundHbone: () => ({ action: 'refuse', reason: 'policy', status: 401 }),
    });
    await howItEnds(await dial(node.port));
    await eventually(() => node.rig.outcomes.size === 2, 'both connections to end');
    const errors = [...node.rig.outcomes.values()].map(({ error }) => error);
    t.deepEqual(errors.sort(), ['http status: 401 Unauthorized', 'policy']);
    t.is(application.sockets.length, 0);
  });

  const strangers: readonly [string, ForwardLocal, ResponseFlag][] = [
    ['whose identity is not expected', join('server', ['spiffe://cluster.local/ns/shop/sa/other']), 'TLS_FAILURE'],
    ['that accepts nobody', join('server', []), 'TLS_FAILURE'],
    ['that is gone', join('nobody'), 'CONNECT'],
  ];
  for (const [what, decision, flag] of strangers) {
    test(`a pod of the node ${what} is not sent to`, async (t) => {
      await using application = await startApplication(echo);
      await using node = await startNode(create, to(application, decision));
      await howItEnds(await dial(node.port));
      await eventually(() => node.rig.outcomes.size === 1, 'the connection to end');
      t.is([...node.rig.outcomes.values()][0]?.flag, flag);
      t.is(node.rig.streams.length, 0, 'the destination’s side was not asked');
      t.is(application.sockets.length, 0);
    });
  }

  test('without a certificate nothing is joined', async (t) => {
    await using application = await startApplication(echo);
    await using node = await startNode(create, {
      ...to(application),
      credentials: () => Promise.reject(new Error('the authority is away')),
    });
    await howItEnds(await dial(node.port));
    await eventually(() => node.rig.outcomes.size === 1, 'the connection to end');
    t.is([...node.rig.outcomes.values()][0]?.flag, 'IDENTITY_ERROR');
    t.is(application.sockets.length, 0);
  });

  test('an application that refuses is told to both sides', async (t) => {
    const application = await startApplication(echo);
    await application[Symbol.asyncDispose]();
    await using node = await startNode(create, to(application));
    await howItEnds(await dial(node.port));
    await eventually(() => node.rig.outcomes.size === 2, 'both connections to end');
    const errors = [...node.rig.outcomes.values()].map(({ error }) => error);
    t.deepEqual(errors.sort(), ['http status: 503 Service Unavailable', 'io error: Connection refused (os error 111)']);
  });

  for (const side of ['client', 'server'] as const) {
    test(`a cut of the ${side}'s connection resets both ends`, async (t) => {
      await using application = await startApplication(echo);
      await using node = await startNode(create, to(application));
      const socket = await dial(node.port);
      socket.write('x');
      await once(socket, 'data');
      const ends = [howItEnds(socket), howItEnds(application.sockets[0]!)]; // it has answered
      const inbound = node.rig.streams[0]?.id;
      const id = node.rig.opened.find((one) => (one === inbound) === (side === 'server')) ?? -1;
      node.rig.engine.cut(id, 'DENY', 'connection closed due to policy change');
      t.deepEqual(await Promise.all(ends), ['ECONNRESET', 'ECONNRESET']);
      await eventually(() => node.rig.outcomes.size === 2, 'both connections to end');
      t.is(node.rig.outcomes.get(id)?.flag, 'DENY');
    });
  }
}
