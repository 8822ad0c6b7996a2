import { mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../../core/logger.ts';
import { parseTokenFile, StaticTokens } from './static-tokens.ts';

const ZTUNNEL = 'system:serviceaccount:istio-system:ztunnel';

test('rows give owners; comments and empty lines give none', (t) => {
  const { owners, problems } = parseTokenFile(`# ours\n\nt1,${ZTUNNEL},u,"a,b",pod,uid\r\nt2,${ZTUNNEL},u\n`);
  t.deepEqual(problems, []);
  t.deepEqual(
    [...owners.values()],
    [
      { namespace: 'istio-system', serviceAccount: 'ztunnel', podName: 'pod', podUid: 'uid' },
      { namespace: 'istio-system', serviceAccount: 'ztunnel', podName: undefined, podUid: undefined },
    ],
  );
});

const refused = test.macro((t, row: string) => {
  const { owners, problems } = parseTokenFile(`ok,${ZTUNNEL},u\n${row}\n`);
  t.is(owners.size, 1);
  t.is(problems[0]?.line, 2);
});
test('an empty token is refused', refused, `,${ZTUNNEL},u`);
test('a user that is no service account is refused', refused, 'x,admin,u');
test('a user with an odd namespace is refused', refused, 'x,system:serviceaccount:../x:y,u');
test('a user with more parts is refused', refused, `x,${ZTUNNEL}:more,u`);

test('a token given twice belongs to nobody', (t) => {
  const { owners, problems } = parseTokenFile(`x,${ZTUNNEL},u\nx,system:serviceaccount:a:b,u\n`);
  t.is(owners.size, 0);
  t.is(problems.length, 1);
});

test('any text is read without an exception, and owns nothing unnamed', (t) => {
  const line = fc.oneof(
    fc.string(),
    fc.string().map((token) => `${token},${ZTUNNEL},u`),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const { owners } = parseTokenFile(lines.join('\n'));
      for (const owner of owners.values()) t.truthy(owner.namespace);
    }),
  );
  t.pass();
});

test('the file is read again when it changes, and without it nobody is authenticated', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `culvert-tokens-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'tokens.csv');
  const tokens = new StaticTokens({ file, trustDomain: 'td', clusterId: 'c1', log: silentLogger });
  const ask = (token: string | undefined, clusterId = '') => tokens.authenticate({ token, clusterId });
  t.is(await ask('one'), undefined);
  await writeFile(file, `one,${ZTUNNEL},u,"g",pod,uid\n`);
  t.deepEqual(await ask('one', 'c1'), {
    trustDomain: 'td',
    namespace: 'istio-system',
    serviceAccount: 'ztunnel',
    podName: 'pod',
    podUid: 'uid',
    clusterId: 'c1',
  });
  t.is(await ask('two'), undefined);
  t.is(await ask(undefined), undefined);
  t.is(await ask('one', 'another-cluster'), undefined);
  await writeFile(`${file}.new`, `two,${ZTUNNEL},u\n`);
  await utimes(`${file}.new`, 1, 1);
  await rename(`${file}.new`, file);
  t.is(await ask('one'), undefined);
  t.truthy(await ask('two'));
  await rm(file);
  t.is(await ask('two'), undefined);
});
