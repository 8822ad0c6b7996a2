/** Revocation lists of a tunnel process, from the file to the wire. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import test from 'ava';
import { call, connectApp, eventually, exchange, serveEcho } from './apps.ts';
import { captureTraffic } from './fabric.ts';
import { localWorkload, TunnelProcess } from './tunnel-process.ts';

const REJECTED = 'istio_crl_policy_rejections_total';

/** One pair of pods on one node; `revoked` says whose certificate the list names. */
const revokes = test.macro(async (t, revoked: 'client' | 'server' | 'bystander') => {
  await using tunnel = await TunnelProcess.create();
  const names = ['client', 'server', 'bystander'];
  const [client, server, bystander] = [
    await tunnel.fabric.add(),
    await tunnel.fabric.add(),
    await tunnel.fabric.add(),
  ] as const;
  const workloads = [client, server, bystander].map((pod, index) => localWorkload(names[index] ?? '', pod));
  writeFileSync(tunnel.revocationPath, '');
  await tunnel.listenAsAgent();
  await tunnel.start({ workloads }, { CRL_PATH: tunnel.revocationPath });
  const agent = await tunnel.acceptTunnel();
  for (const [index, pod] of [client, server, bystander].entries()) {
    await agent.add(`u${index}`, names[index] ?? '', pod.netns);
    await captureTraffic(pod);
  }
  await agent.snapshotSent();
  using echo = serveEcho(server.netns);
  const to = { ip: server.ip4, port: 8080 };
  const metrics = async (): Promise<string> => (await tunnel.request(15_020, '/metrics'))?.body.toString() ?? '';
  const live = await connectApp(client.netns, to);
  t.is(await exchange(live, 'before'), 'before');
  const closed = once(live, 'close').catch(() => undefined); // by a reset
  await eventually('certificates', async () => {
    const dump = (await tunnel.request(15_000, '/config_dump'))?.body.toString() ?? '';
    return dump.split('"Available"').length > names.length;
  });

  await tunnel.revoke(revoked);
  await eventually('the list is read', () => tunnel.output.includes('revocation list loaded'));
  if (revoked === 'bystander') {
    t.is(await exchange(live, 'after'), 'after');
    live.destroy();
    t.is((await call(client.netns, to, 'new')).toString(), 'new');
    t.notRegex(await metrics(), new RegExp(`${REJECTED}\\{.*\\} 1`));
    return;
  }
  await closed;
  const reporter = revoked === 'client' ? 'destination' : 'source';
  const direction = revoked === 'client' ? 'inbound' : 'outbound';
  const text = 'error="connection closed: peer certificate revoked by CRL"';
  await eventually('the live connection is logged', () =>
    tunnel.output.split('\n').some((line) => line.includes(text) && line.includes(`direction="${direction}"`)),
  );
  const ended = new RegExp(
    `istio_tcp_connections_failed_total\\{reporter="${reporter}".*response_flags="CERT_REVOKED".*\\} 1`,
  );
  t.regex(await metrics(), ended);
  t.notRegex(await metrics(), new RegExp(`${REJECTED}\\{`), 'it had been accepted');

  const before = echo.peers.length;
  const answer = await call(client.netns, to, 'new').catch(() => '');
  t.is(answer.toString(), '');
  t.is(echo.peers.length, before);
  await eventually('the refusal is counted', async () =>
    (await metrics()).includes(`${REJECTED}{reporter="${reporter}"} 1`),
  );
  t.false((await metrics()).includes(`${REJECTED}{reporter="${reporter === 'source' ? 'destination' : 'source'}"}`));
});
test('the certificate of a client is revoked: its connection is cut, a new one refused', revokes, 'client');
test('the certificate of a server is revoked: the connection is cut, a new one refused', revokes, 'server');
test('control: a list that names somebody else cuts nobody', revokes, 'bystander');
