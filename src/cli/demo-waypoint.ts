/** The act of the demo in which a waypoint is added to the running shop: a canary, a policy by method, and away again. */
import { systemClock } from '../core/system-clock.ts';
import { claim, type Narrator, unharmed } from './demo-acts.ts';
import { eventually, type Stage } from './demo-stage.ts';

const USE_WAYPOINT = 'istio.io/use-waypoint';
const NAME = 'waypoint';
const DETAILS_URL = 'http://details:9080/details/0';
const REVIEWS_URL = 'http://reviews:9080/reviews/0';
const REQUESTS = 200;
/** Six standard deviations around a tenth of them. */
const CANARY_MAX = 46;
const WAYPOINT_LIMIT_MS = 40_000;

export async function actWaypoint(stage: Stage, narrator: Narrator): Promise<void> {
  narrator.act('A waypoint, added live');
  await narrator.doing('adding a Gateway of class istio-waypoint and binding the namespace to it', async () => {
    claim(!(await passesWaypoint(stage)), 'nobody answers in the name of a waypoint yet');
    await stage.apply('waypoint.yaml');
    const startedMs = systemClock.monotonicMs();
    await stage.label(USE_WAYPOINT, NAME);
    await eventually(
      'requests pass the waypoint',
      async () => ((await passesWaypoint(stage)) ? true : undefined),
      WAYPOINT_LIMIT_MS,
    );
    const seconds = ((systemClock.monotonicMs() - startedMs) / 1_000).toFixed(1);
    return `requests pass it after ${seconds} s; ${await unharmed(stage)}`;
  });
  await narrator.doing('sending a tenth of the requests for reviews to version 3', async () => {
    await stage.apply('reviews-canary.yaml');
    await eventually('version 2 gets nothing any more', async () => {
      const seen = await versions(stage, 20);
      return seen.has('v2') ? undefined : true;
    });
    const seen = await versions(stage, REQUESTS);
    const canary = seen.get('v3') ?? 0;
    claim((seen.get('v1') ?? 0) + canary === REQUESTS, 'every request was answered by version 1 or 3');
    claim(canary > 0 && canary < CANARY_MAX, `about a tenth went to version 3, not ${canary} of ${REQUESTS}`);
    return `${canary} of ${REQUESTS} requests on one connection went to version 3`;
  });
  await narrator.doing('denying DELETE', async () => {
    claim((await statusOf(stage, 'DELETE')) === 200, 'DELETE passes before');
    await stage.apply('deny-delete.yaml');
    await eventually('DELETE is refused', async () => ((await statusOf(stage, 'DELETE')) === 403 ? true : undefined));
    claim((await statusOf(stage, 'GET')) === 200, 'GET passes');
    return `DELETE gets 403, GET 200; ${await unharmed(stage)}`;
  });
  await narrator.doing('removing all of it', async () => {
    await stage.remove('deny-delete.yaml');
    await stage.remove('reviews-canary.yaml');
    await stage.label(USE_WAYPOINT, undefined);
    await eventually('requests go the direct way', async () => ((await passesWaypoint(stage)) ? undefined : true));
    await stage.remove('waypoint.yaml');
    await eventually(
      'the waypoint is gone',
      async () => {
        const pods = await stage.pods();
        return pods.some(({ metadata }) => metadata.name.startsWith(`${NAME}-`)) ? undefined : true;
      },
      WAYPOINT_LIMIT_MS,
    );
    return await unharmed(stage);
  });
}

/** Waypoints put their name into every answer. */
async function passesWaypoint(stage: Stage): Promise<boolean> {
  const { stdout } = await stage.exec('productpage', 'curl', '-si', '-m', '5', DETAILS_URL);
  return /^server: istio-envoy\r?$/im.test(stdout);
}

async function statusOf(stage: Stage, method: string): Promise<number> {
  const flags = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '-m', '5', '-X', method];
  const { stdout } = await stage.exec('productpage', 'curl', ...flags, DETAILS_URL);
  return Number(stdout);
}

/** Versions of reviews that answered, by count. */
async function versions(stage: Stage, count: number): Promise<ReadonlyMap<string, number>> {
  const urls = Array.from({ length: count }, () => REVIEWS_URL);
  const { stdout } = await stage.exec('productpage', 'curl', '-s', '-m', '60', ...urls);
  const seen = new Map<string, number>();
  for (const [, version = ''] of stdout.matchAll(/"version":"(v\d)"/g)) seen.set(version, (seen.get(version) ?? 0) + 1);
  return seen;
}
