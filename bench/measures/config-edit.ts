/** Time from writing a policy into the resource directory to its effect on calls. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchCluster } from '../cluster.ts';
import { PolicyWatcher } from '../policy-watcher.ts';

const DENY = join(import.meta.dirname, '..', 'manifests', 'deny.yaml');

/** Milliseconds for each of `edits` edits; a policy is added and removed in turn. */
export async function measureConfigEdit(
  cluster: BenchCluster,
  httpIp: string,
  edits: number,
): Promise<readonly number[]> {
  const policy = await readFile(DENY, 'utf8');
  const target = join(cluster.plan.resourceDir, 'bench-deny.yaml');
  await using probe = await PolicyWatcher.start(cluster, httpIp);
  try {
    await probe.next('allowed');
    const samples: number[] = [];
    for (let edit = 0; edit < edits; edit++) {
      const deny = edit % 2 === 0;
      if (deny) await writeFile(`${target}.tmp`, policy);
      const startedMs = performance.timeOrigin + performance.now();
      if (deny) await rename(`${target}.tmp`, target);
      else await rm(target);
      samples.push((await probe.next(deny ? 'denied' : 'allowed')) - startedMs);
    }
    return samples;
  } finally {
    await rm(target, { force: true });
  }
}
