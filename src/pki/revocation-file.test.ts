import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { Logger } from '../core/logger.ts';
import { silentLogger } from '../core/logger.ts';
import { systemClock } from '../core/system-clock.ts';
import { CRL, toPem } from './pem.ts';
import { RevocationFile } from './revocation-file.ts';

async function setUp(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-crl-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
  let changes = 0;
  const path = join(folder, 'crl.pem');
  const open = async () => {
    const file = await RevocationFile.open({ path, clock: systemClock, log, onChange: () => (changes += 1) });
    t.teardown(() => file[Symbol.asyncDispose]());
    return file;
  };
  return { path, open, warnings, changes: () => changes };
}

test('a missing file revokes nothing and warns', async (t) => {
  const { open, warnings } = await setUp(t);
  const file = await open();
  t.is(file.current.size, 0);
  t.deepEqual(warnings, ['revocation list not usable']);
});
test('a file that cannot be read keeps what was read before', async (t) => {
  const { path, open, warnings, changes } = await setUp(t);
  await writeFile(path, '');
  const file = await open();
  t.is(file.current.size, 0);
  await writeFile(path, 'not a list');
  t.false(await file.reload());
  t.is(warnings.length, 1);
  t.is(changes(), 0);
});
test('the same text again is no change', async (t) => {
  const { path, open, changes } = await setUp(t);
  await writeFile(path, '\n');
  const file = await open();
  t.is(changes(), 1);
  t.false(await file.reload());
  await writeFile(path, '\n\n');
  t.true(await file.reload());
  t.is(changes(), 2);
});
test('a list that is cut off is refused', async (t) => {
  const { path, open, warnings } = await setUp(t);
  await writeFile(path, toPem(Buffer.from([0x30, 0x20, 0x30]), CRL));
  await open();
  t.is(warnings.length, 1);
});
test('a folder that comes later is found', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-crl-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const clock = new ManualClock();
  const changed = Promise.withResolvers<void>();
  const path = join(folder, 'later', 'crl.pem');
  const options = { path, clock, log: silentLogger, onChange: () => changed.resolve() };
  await using file = await RevocationFile.open(options);
  t.is(clock.sleepers, 1);
  await mkdir(join(folder, 'later'));
  await writeFile(path, '\n');
  await clock.advance(10_000);
  await changed.promise;
  t.is(file.current.size, 0);
});
