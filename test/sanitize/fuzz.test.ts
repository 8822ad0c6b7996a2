import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { fuzz } from '../../scripts/fuzz-engine.ts';

const SECONDS = 10;

test('some seconds of inputs find nothing', (t) => {
  t.timeout(600_000); // the target is built first
  const artifacts = mkdtempSync(join(tmpdir(), 'culvert-artifacts-'));
  try {
    const { executions, failure } = fuzz({ seconds: SECONDS, artifacts });
    t.is(failure, undefined);
    t.true(executions > 11, 'more than the first inputs were tried');
    t.log(`${executions} inputs`);
  } finally {
    rmSync(artifacts, { recursive: true, force: true });
  }
});
