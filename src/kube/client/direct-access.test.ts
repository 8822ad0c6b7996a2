import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { stringify } from 'yaml';
import { kubeconfigAccess } from './direct-access.ts';

async function access(
  t: ExecutionContext,
  cluster: object,
  user: object,
  files: Readonly<Record<string, string>> = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-kubeconfig-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
    clusters: [{ name: 'one', cluster: { server: 'https://example:6443/', ...cluster } }],
    users: [{ name: 'me', user }],
    contexts: [{ name: 'c', context: { cluster: 'one', user: 'me' } }],
  };
  await writeFile(join(folder, 'config'), stringify(config));
  return kubeconfigAccess(join(folder, 'config'));
}

test('a token, and one in a file beside the kubeconfig', async (t) => {
  const plain = await access(t, {}, { token: 'abc' });
  t.is(plain?.server, 'https://example:6443');
  t.is(await plain?.authorization(), 'Bearer abc');
  const file = await access(t, {}, { tokenFile: 'token' }, { token: 'xyz\n' });
  t.is(await file?.authorization(), 'Bearer xyz');
});

test('a client certificate needs no header', async (t) => {
  const files = { 'c.crt': 'c', 'c.key': 'k' };
  const found = await access(t, {}, { 'client-certificate': 'c.crt', 'client-key': 'c.key' }, files);
  t.is(await found?.authorization(), undefined);
});

test('what asks for more is left to the client library', async (t) => {
  t.is(await access(t, {}, { exec: { command: 'aws' } }), undefined);
  t.is(await access(t, {}, { token: 'abc', as: 'somebody' }), undefined);
  t.is(await access(t, { 'proxy-url': 'http://proxy' }, { token: 'abc' }), undefined);
});

test('files that are missing are named', async (t) => {
  await t.throwsAsync(kubeconfigAccess('/nonexistent/config'), { code: 'ERR_CONFIG', message: /nonexistent/ });
  await t.throwsAsync(access(t, { 'certificate-authority': 'ca.crt' }, { token: 'abc' }), {
    code: 'ERR_CONFIG',
    message: /ca\.crt/,
  });
});
