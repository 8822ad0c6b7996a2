/** Resident memory of the client's tunnel while connections are open and nobody speaks. */
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BenchCluster } from '../cluster.ts';

const NODE = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'node');
const HOLDER = join(import.meta.dirname, '..', 'idle-connections.ts');

/** MB of the tunnel on the client's node with `count` connections open through it. */
export async function measureIdleMemory(cluster: BenchCluster, httpIp: string, count: number): Promise<number> {
  if (count === 0) return cluster.residentMb('ztunnel/node1');
  const holder = cluster.start('client', [NODE, HOLDER, httpIp, '8080', String(count)]);
  try {
    const line = await Promise.race([
      createInterface({ input: holder.stdout })[Symbol.asyncIterator]().next(),
      once(holder, 'close').then(() => ({ value: 'the holder ended' })),
    ]);
    if (line.value !== `open ${count}`) throw new Error(`${count} connections were not opened: ${line.value}`);
    return await cluster.residentMb('ztunnel/node1');
  } finally {
    holder.stdin.end();
    if (holder.exitCode === null) await once(holder, 'close');
  }
}
