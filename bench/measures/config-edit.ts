/** Time from writing a policy into the resource directory to its effect on calls. */
import { once } from 'node:events';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BenchCluster } from '../cluster.ts';

const NODE = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'node');
const PROBE = join(import.meta.dirname, '..', 'policy-probe.ts');
const DENY = join(import.meta.dirname, '..', 'manifests', 'deny.yaml');

/** Milliseconds for each of `edits` edits; a policy is added and removed in turn. */
export async function measureConfigEdit(
  cluster: BenchCluster,
  httpIp: string,
  edits: number,
): Promise<readonly number[]> {
  const policy = await readFile(DENY, 'utf8');
  const target = join(cluster.plan.resourceDir, 'bench-deny.yaml');
  const probe = cluster.start('client', [NODE, PROBE, httpIp, '8080']);
  const lines = createInterface({ input: probe.stdout })[Symbol.asyncIterator]();
  const next = async (wanted: string): Promise<number> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the probe ended');
      const [state, atMs] = String(value).split(' ');
      if (state === wanted) return Number(atMs);
    }
  };
  try {
    await next('allowed');
    const samples: number[] = [];
    for (let edit = 0; edit < edits; edit++) {
      const deny = edit % 2 === 0;
      if (deny) await writeFile(`${target}.tmp`, policy);
      const startedMs = performance.timeOrigin + performance.now();
      if (deny) await rename(`${target}.tmp`, target);
      else await rm(target);
      samples.push((await next(deny ? 'denied' : 'allowed')) - startedMs);
    }
    return samples;
  } finally {
    await rm(target, { force: true });
    probe.stdin.end();
    if (probe.exitCode === null) await once(probe, 'close');
  }
}
