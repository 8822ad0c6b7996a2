/**
 * An API server of its own: etcd and kube-apiserver on loopback, with nothing that would run, mend or remove what is put
 * in. The two binaries come from the folder that CULVERT_KUBE_BIN names.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { systemClock } from '../../src/core/system-clock.ts';
import { CertificateAuthority, PrivateKey } from '../../src/pki/index.ts';

export interface OwnApiServer extends AsyncDisposable {
  readonly kubeconfig: string;
}

const READY_WITHIN_MS = 120_000;

export async function startApiServer(binaries: string): Promise<OwnApiServer> {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-scale-'));
  const file = (name: string) => join(folder, name);
  const children: ChildProcess[] = [];
  const start = (name: string, args: readonly string[]) =>
    children.push(spawn(join(binaries, name), args, { stdio: ['ignore', 'ignore', 'ignore'] }));
  const [client, peer, api] = await freePorts(3);
  const authority = await CertificateAuthority.ephemeral({ trustDomain: 'scale', clock: systemClock });
  const server = await authority.issueServer(['localhost'], ['127.0.0.1', '10.97.0.1']);
  const accounts = await PrivateKey.generate();
  const token = randomBytes(16).toString('hex');
  const url = `https://127.0.0.1:${api}`;
  const etcd = `http://127.0.0.1:${client}`;
  await writeFile(file('ca.crt'), authority.rootsPem);
  await writeFile(file('api.crt'), server.certChainPem);
  await writeFile(file('api.key'), server.key.reveal());
  await writeFile(file('accounts.key'), accounts.reveal());
  await writeFile(file('tokens.csv'), `${token},admin,admin,"system:masters"\n`);
  await writeFile(file('kubeconfig'), kubeconfigText(url, authority.rootsPem, token));
  start('etcd', [
    ...['--data-dir', file('etcd'), '--unsafe-no-fsync', '--log-level', 'error'],
    ...['--listen-client-urls', etcd, '--advertise-client-urls', etcd],
    ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
  ]);
  start('kube-apiserver', [
    ...[`--etcd-servers=${etcd}`, `--secure-port=${api}`, '--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'],
    ...[`--tls-cert-file=${file('api.crt')}`, `--tls-private-key-file=${file('api.key')}`],
    ...[`--token-auth-file=${file('tokens.csv')}`, '--authorization-mode=RBAC', '--endpoint-reconciler-type=none'],
    ...['--disable-admission-plugins=ServiceAccount', '--service-cluster-ip-range=10.97.0.0/16'],
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${file('accounts.key')}`,
    `--service-account-signing-key-file=${file('accounts.key')}`,
  ]);
  const stop = async () => {
    for (const child of children) if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await answers(url, authority.rootsPem, token);
  } catch (error) {
    await stop();
    throw error;
  }
  return { kubeconfig: file('kubeconfig'), [Symbol.asyncDispose]: stop };
}

async function answers(url: string, roots: string, token: string): Promise<void> {
  const { Agent, request } = await import('undici');
  const dispatcher = new Agent({ connect: { ca: roots } });
  const untilMs = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const headers = { authorization: `Bearer ${token}` };
    const status = await request(`${url}/readyz`, { dispatcher, headers }).then(
      async ({ statusCode, body }) => {
        await body.dump();
        return statusCode;
      },
      () => 0,
    );
    if (status === 200) return dispatcher.close();
    if (Date.now() > untilMs) throw new Error('the API server did not come up');
    await delay(200);
  }
}

function kubeconfigText(server: string, roots: string, token: string): string {
  const ca = Buffer.from(roots).toString('base64');
  return stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'scale' },
    clusters: [{ name: 'scale', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'scale', context: { cluster: 'scale', user: 'admin' } }],
  });
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
