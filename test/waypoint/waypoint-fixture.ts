/** The book shop in the mesh with its load, and a waypoint that can be added, looked at, restarted and removed. */
import { join } from 'node:path';
import { SHOP } from '../../src/cli/demo-stage.ts';
import {
  type KubeObject,
  labelObject,
  type Pod,
  readManifests,
  removeObjects,
  storeObjects,
} from '../../src/local/index.ts';
import { eventually, type FixtureOptions } from '../local/cluster-fixture.ts';
import { enrol, lossesSince, type MeshFixture, startShop } from '../local/mesh-fixture.ts';

const MANIFESTS = new URL('manifests/', import.meta.url).pathname;
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name';

export interface WaypointFixture extends MeshFixture {
  apply(file: string): Promise<unknown>;
  remove(file: string): Promise<unknown>;
  /** Replicas of the waypoint that are ready. */
  replicas(): Promise<readonly Pod[]>;
  /** Binds the shop's namespace to the waypoint, and waits until clients are told. */
  bind(): Promise<void>;
  unbind(): Promise<void>;
  /** Sum of a metric over the waypoint's replicas, of the series that have all of these labels. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Runs `work` under the shop's load; rejects with what was lost. */
  withoutLoss(work: () => Promise<void>): Promise<void>;
}

export async function startWaypointShop(options: Partial<FixtureOptions> = {}): Promise<WaypointFixture> {
  const shop = await startShop(options);
  const { stage, cluster } = shop;
  await enrol(stage);
  const { resourceDir } = cluster.plan;
  const objects = (file: string): Promise<readonly KubeObject[]> => readManifests(join(MANIFESTS, file));
  const replicas = async (): Promise<readonly Pod[]> =>
    (await stage.pods()).filter(
      ({ metadata, status }) =>
        metadata.labels?.[GATEWAY_NAME] !== undefined &&
        metadata.deletionTimestamp === undefined &&
        (status?.conditions ?? []).some((one) => one.type === 'Ready' && one.status === 'True'),
    );
  const label = (value: string | undefined): Promise<void> =>
    labelObject(resourceDir, { apiVersion: 'v1', kind: 'Namespace', name: SHOP }, { 'istio.io/use-waypoint': value });
  return {
    ...shop,
    apply: async (file) => storeObjects(resourceDir, await objects(file)),
    remove: async (file) => removeObjects(resourceDir, await objects(file)),
    replicas,
    async bind() {
      await label('waypoint');
      await eventually('requests pass the waypoint', async () => ((await passesWaypoint(stage)) ? true : undefined));
    },
    async unbind() {
      await label(undefined);
      await eventually('requests go the direct way', async () => ((await passesWaypoint(stage)) ? undefined : true));
    },
    async metric(name, labels = {}) {
      const pages = await Promise.all(
        (await replicas()).map(({ metadata }) =>
          stage.exec(metadata.name, 'curl', '-s', '-m', '5', 'http://localhost:15020/metrics'),
        ),
      );
      return pages.reduce((sum, { stdout }) => sum + sumOf(stdout, name, labels), 0);
    },
    async withoutLoss(work) {
      const before = await stage.load();
      await work();
      const lost = lossesSince(before, await stage.load());
      if (lost.length > 0) throw new Error(`the load lost: ${lost.join('; ')}`);
    },
    [Symbol.asyncDispose]: () => shop[Symbol.asyncDispose](),
  };
}

/** Waypoints put their name into every answer. */
export async function passesWaypoint(stage: MeshFixture['stage']): Promise<boolean> {
  const { stdout } = await stage.exec('productpage', 'curl', '-si', '-m', '5', 'http://details:9080/details/0');
  return /^server: istio-envoy\r?$/im.test(stdout);
}

function sumOf(page: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0;
  for (const line of page.split('\n')) {
    if (!line.startsWith(`${name}{`)) continue;
    if (!Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) continue;
    sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}
