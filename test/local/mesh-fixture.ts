/** The book shop with its load on a cluster with a mesh, and components that can be killed and held down. */
import { rm, writeFile } from 'node:fs/promises';
import { type LoadStats, Stage } from '../../src/cli/demo-stage.ts';
import { findState, holdFile } from '../../src/local/index.ts';
import { eventually, type FixtureOptions, startCluster, type TestCluster } from './cluster-fixture.ts';

const SHOP_PODS = 7;

export interface MeshFixture extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly stage: Stage;
}

/** A cluster where the shop runs and its load has done some work. Nothing is enrolled. */
export async function startShop(options: Partial<FixtureOptions> = {}): Promise<MeshFixture> {
  const cluster = await startCluster({ mesh: true, ...options });
  try {
    const stage = new Stage(cluster.plan);
    await stage.apply('bookinfo.yaml');
    await stage.allReady(SHOP_PODS);
    await stage.apply('shopper.yaml');
    await stage.allReady(SHOP_PODS + 1);
    await loadGoesOn(stage);
    return { cluster, stage, [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose]() };
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

export async function enrol(stage: Stage): Promise<void> {
  await stage.label('istio.io/dataplane-mode', 'ambient');
  await stage.redirection('enabled');
}

/** Waits until the load has got answers of all three kinds since now. */
export async function loadGoesOn(stage: Stage): Promise<void> {
  const before = await stage.load();
  await eventually('the load goes on', async () => {
    const { kept, fresh, ledger } = await stage.load();
    return kept.ok > before.kept.ok && fresh.ok > before.fresh.ok && ledger.ok > before.ledger.ok ? true : undefined;
  });
}

/** What the load lost between two looks, in its own words. It keeps some; what it no longer has is counted. */
export function lossesSince(before: LoadStats, after: LoadStats): readonly string[] {
  const failed = ({ kept, fresh, ledger }: LoadStats): number => kept.failed + fresh.failed + ledger.failed;
  const lost = failed(after) - failed(before);
  if (lost === 0) return [];
  const told = after.failures.slice(-lost);
  return told.length === lost ? told : [`${lost - told.length} more`, ...told];
}

/** kill -9, and no restart until the answer is disposed of. */
export async function killAndHold(cluster: TestCluster, component: string): Promise<{ release(): Promise<void> }> {
  const pid = await cluster.pidOf(component);
  const file = holdFile(cluster.plan, component);
  await writeFile(file, '');
  process.kill(pid, 'SIGKILL');
  await eventually(`${component} is down`, async () => {
    const state = await findState(cluster.plan.stateDir);
    return state?.components.find(({ name }) => name === component)?.pid === undefined ? true : undefined;
  });
  return { release: async () => await rm(file, { force: true }) };
}
