/** Time from the label of a namespace to the enrolment of its running pods. */
import type { BenchCluster } from '../cluster.ts';

const REDIRECTION = 'ambient.istio.io/redirection';

/** Milliseconds for each of the 100 pods of `crowd.yaml`. */
export async function measureEnrolment(cluster: BenchCluster): Promise<readonly number[]> {
  await cluster.apply('crowd.yaml');
  const running = () => cluster.pods.list('crowd').filter(({ status }) => status?.phase === 'Running');
  await cluster.until('100 running pods', () => running().length === 100);
  const startedMs = performance.now();
  const enrolled = new Map<string, number>();
  using _watch = cluster.pods.subscribe(({ namespace, name }) => {
    if (namespace !== 'crowd' || enrolled.has(name)) return;
    const pod = cluster.pods.get({ namespace, name });
    if (pod?.metadata.annotations?.[REDIRECTION] === 'enabled') enrolled.set(name, performance.now() - startedMs);
  });
  await cluster.local('label', 'crowd', 'istio.io/dataplane-mode=ambient');
  await cluster.until('the enrolment of 100 pods', () => enrolled.size === 100);
  return [...enrolled.values()];
}
