/** What `kubectl rollout restart` does: a changed pod template makes new pods, and the old ones end when those are ready. */
import { silentLogger } from '../../src/core/logger.ts';
import { FileSource, FileWriter } from '../../src/kube/index.ts';
import type { NamespacedName } from '../../src/model/address.ts';

const DEPLOYMENT = { group: 'apps', kind: 'Deployment' };

export async function annotateTemplate(resourceDir: string, key: NamespacedName): Promise<void> {
  await using source = await FileSource.open({ directory: resourceDir, log: silentLogger });
  const writer = new FileWriter({ source, manager: 'test-restart' });
  const annotations = { 'test/restarted': String(Date.now()) };
  await writer.patchObject(DEPLOYMENT, key, { spec: { template: { metadata: { annotations } } } });
}
