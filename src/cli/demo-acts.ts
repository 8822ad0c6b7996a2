/**
 * The acts of the demo but for that of the waypoint (`demo-waypoint.ts`). Each does something a person would do, looks at
 * the result from outside, and claims what was seen; a claim that does not hold ends the demo.
 */
import { MeshError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import { HBONE_PORT, type LinkEvidence, readCertificates, readLink, sumMetric, without } from './demo-evidence.ts';
import { type Measurement, measure } from './demo-measure.ts';
import { eventually, SHOP, type Stage } from './demo-stage.ts';

/** Tells a person what goes on. `doing` shows a spinner while `work` runs and then the sentence it answers with. */
export interface Narrator {
  act(title: string): void;
  doing(text: string, work: () => Promise<string>): Promise<void>;
}

const DATAPLANE_LABEL = 'istio.io/dataplane-mode';
const CAPTURE_MS = 1_500;
/** Kept connections are renewed by their servers after 100 requests; the load makes about 25 a second. */
const RENEWAL_LIMIT_MS = 20_000;
const DETAILS_URL = 'http://details:9080/details/0';
const RATINGS_DENIED = 'deny-ratings';

/** What earlier acts leave for later ones. */
export interface Memory {
  direct?: Measurement;
  /** Connections that were open before the pods joined the mesh. */
  before: ReadonlySet<string>;
}

/** Throws ERR_CLAIM unless `holds`: the demo's promise is broken. */
export function claim(holds: boolean, text: string): void {
  if (!holds) throw new MeshError('ERR_CLAIM', `not true: ${text}`);
}

export async function actInClear(stage: Stage, narrator: Narrator, memory: Memory): Promise<void> {
  narrator.act('Plain traffic');
  await narrator.doing('capturing on the link between the nodes', async () => {
    const seen = readLink(await stage.capture(CAPTURE_MS));
    claim(seen.clear.size > 0, 'requests can be read on the link');
    claim(seen.hbone.size === 0, 'nothing goes to port 15008 yet');
    memory.before = seen.other;
    return `${seen.packets} packets; ${seen.clear.size} connections carry HTTP and ledger entries that anybody can read`;
  });
  await narrator.doing('measuring the way between the nodes as it is', async () => {
    memory.direct = await measure(stage);
    return describe(memory.direct);
  });
}

export async function actEnrol(stage: Stage, narrator: Narrator, memory: Memory): Promise<void> {
  narrator.act(`The namespace gets the label ${DATAPLANE_LABEL}=ambient`);
  const pids = await processIds(stage);
  await narrator.doing('waiting for the running pods to join', async () => {
    const last = readLink(await stage.capture(CAPTURE_MS / 3));
    memory.before = new Set([...memory.before, ...last.other]);
    const startedMs = systemClock.monotonicMs();
    await stage.label(DATAPLANE_LABEL, 'ambient');
    const pods = await stage.redirection('enabled');
    return `${pods} pods joined in ${Math.round(systemClock.monotonicMs() - startedMs)} ms`;
  });
  await narrator.doing('capturing on the link again', async () => {
    const seen = await eventually(
      'every new connection on the link is TLS to port 15008',
      () => tunnelled(stage, memory),
      RENEWAL_LIMIT_MS,
    );
    claim(seen.notTls.size === 0, 'everything to port 15008 starts with a TLS handshake');
    const readable = without(seen.clear, memory.before);
    claim(readable.length === 0, 'no new connection can be read');
    const old = [...seen.other].length;
    return `${seen.packets} packets, all TLS to port ${HBONE_PORT}${old > 0 ? `, but for ${old} connection that was open before and goes on as it was` : ''}`;
  });
  await narrator.doing('asking the applications', async () => {
    claim((await processIds(stage)) === pids, 'no container was restarted');
    return `no restart; ${await unharmed(stage)}`;
  });
}

/** The link when all that is seen is HBONE or was there before; undefined while there is anything else. */
async function tunnelled(stage: Stage, { before }: Memory): Promise<LinkEvidence | undefined> {
  const seen = readLink(await stage.capture(CAPTURE_MS));
  const strangers = without(seen.other, before);
  // what is left of the old ones is the ledger's connection, which is meant to live for ever
  return seen.hbone.size > 0 && strangers.length === 0 && seen.other.size <= 1 ? seen : undefined;
}

export async function actIdentity(stage: Stage, narrator: Narrator): Promise<void> {
  narrator.act('Who talks to whom');
  const caller = await stage.getPod('ratings');
  const server = await stage.getPod('details');
  await narrator.doing('reading the certificates the tunnels hold', async () => {
    const lines: string[] = [];
    for (const pod of [caller, server]) {
      const account = pod.spec?.serviceAccountName ?? '';
      const wanted = `spiffe://cluster.local/ns/${SHOP}/sa/${account}`;
      const dump = await stage.tunnelPage(stage.getNode(pod), 15_000, '/config_dump');
      const found = readCertificates(dump).find(({ identity }) => identity === wanted);
      if (!found) throw new MeshError('ERR_CLAIM', `not true: the tunnel of ${pod.spec?.nodeName} holds ${wanted}`);
      const hours = (Date.parse(found.expirationTime) - Date.now()) / 3_600_000;
      claim(hours > 0 && hours < 25, `the certificate of ${wanted} is valid, and for a day at most`);
      lines.push(`${wanted}, valid for ${hours.toFixed(1)} h`);
    }
    return lines.join('\n    ');
  });
  await narrator.doing('counting the bytes of one call at both ends', async () => {
    claim((await stage.statusOf('ratings', DETAILS_URL)) === 200, 'ratings may call details');
    const counted = await eventually('both ends count the same bytes', async () => {
      const source = await bytesOf(stage, 'ratings', 'source');
      const destination = await bytesOf(stage, 'details', 'destination');
      return source.sent > 0 && source.sent === destination.sent && source.received === destination.received
        ? source
        : undefined;
    });
    return `ratings to details: ${counted.received} bytes there and ${counted.sent} back, by the count of either end`;
  });
}

async function bytesOf(stage: Stage, app: string, reporter: 'source' | 'destination') {
  const text = await stage.tunnelPage(stage.getNode(await stage.getPod(app)), 15_020, '/metrics');
  const labels = {
    reporter,
    source_canonical_service: 'ratings',
    destination_canonical_service: 'details',
  };
  return {
    sent: sumMetric(text, 'istio_tcp_sent_bytes_total', labels),
    received: sumMetric(text, 'istio_tcp_received_bytes_total', labels),
  };
}

export async function actPolicy(stage: Stage, narrator: Narrator): Promise<void> {
  narrator.act('A policy');
  await narrator.doing('denying ratings the way to details', async () => {
    claim((await stage.statusOf('ratings', DETAILS_URL)) === 200, 'ratings may call details before');
    await stage.apply(`${RATINGS_DENIED}.yaml`);
    const startedMs = systemClock.monotonicMs();
    await eventually('the call is refused', async () =>
      (await stage.statusOf('ratings', DETAILS_URL)) === 0 ? true : undefined,
    );
    const ms = Math.round(systemClock.monotonicMs() - startedMs);
    claim((await stage.statusOf('shopper', DETAILS_URL)) === 200, 'everybody else may still call details');
    return `refused ${ms} ms after the file was written; the shopper may still call`;
  });
  await narrator.doing('reading the log of the tunnel at details', async () => {
    const node = stage.getNode(await stage.getPod('details'));
    const line = await eventually('the log names the policy', async () => {
      const lines = (await stage.tunnelLog(node)).split('\n');
      return lines.findLast((text) => text.includes(`${SHOP}/${RATINGS_DENIED}`) && text.includes('access'));
    });
    return line.replaceAll('\t', ' ').trim();
  });
  await narrator.doing('lifting the policy', async () => {
    await stage.remove(`${RATINGS_DENIED}.yaml`);
    await eventually('the call goes through', async () =>
      (await stage.statusOf('ratings', DETAILS_URL)) === 200 ? true : undefined,
    );
    return `ratings may call details again; ${await unharmed(stage)}`;
  });
}

export async function actMeasure(stage: Stage, narrator: Narrator, memory: Memory): Promise<void> {
  narrator.act('What it costs');
  await narrator.doing('measuring the same way through the mesh', async () => {
    const mesh = await measure(stage);
    const { direct } = memory;
    if (!direct) throw new MeshError('ERR_CLAIM', 'the direct way was not measured');
    const ratio = (a: number, b: number) => `${(a / b).toFixed(2)}x`;
    return [
      describe(mesh),
      `latency: ${ratio(mesh.p50Ms, direct.p50Ms)} at the median, ${ratio(mesh.p99Ms, direct.p99Ms)} at the 99th percentile`,
      `requests: ${ratio(mesh.requestsPerSecond, direct.requestsPerSecond)}, throughput of one stream: ${ratio(mesh.megabitsPerSecond, direct.megabitsPerSecond)}`,
    ].join('\n    ');
  });
}

export async function actLeave(stage: Stage, narrator: Narrator): Promise<void> {
  narrator.act('The label goes');
  await narrator.doing('waiting for the pods to leave the mesh', async () => {
    await stage.label(DATAPLANE_LABEL, undefined);
    const pods = await stage.redirection(undefined);
    return `${pods} pods left`;
  });
  await narrator.doing('capturing on the link a last time', async () => {
    const seen = readLink(await stage.capture(CAPTURE_MS));
    const fresh = [...seen.opened].filter((key) => seen.clear.has(key));
    claim(fresh.length > 0, 'new connections can be read again');
    claim(
      [...seen.opened].every((key) => !seen.hbone.has(key)),
      'no new tunnel is opened',
    );
    return `${fresh.length} new connections, readable as before`;
  });
  await narrator.doing('asking the applications', async () => await unharmed(stage));
}

/** Claims that the load lost nothing since it began, and says how much it did. */
export async function unharmed(stage: Stage): Promise<string> {
  const { kept, fresh, ledger, failures } = await stage.load();
  const failed = kept.failed + fresh.failed + ledger.failed;
  claim(failed === 0, `no request of the load failed (${failed} did): ${failures.join('; ')}`);
  claim(ledger.connections === 1, 'the ledger connection never broke');
  claim(kept.ok > 0 && fresh.ok > 0 && ledger.ok > 0, 'the load was running');
  return `${kept.ok + fresh.ok} requests and ${ledger.ok} ledger entries on one connection, none failed`;
}

/** Containers and how often they were started, as text that changes with a restart. */
async function processIds(stage: Stage): Promise<string> {
  const pods = await stage.pods();
  return pods
    .map(({ metadata, status }) => `${metadata.uid} ${status?.containerStatuses?.map((c) => c.restartCount).join()}`)
    .sort()
    .join('\n');
}

function describe({ p50Ms, p99Ms, requestsPerSecond, megabitsPerSecond }: Measurement): string {
  const gigabits = (megabitsPerSecond / 1_000).toFixed(2);
  return `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, ${Math.round(requestsPerSecond)} requests/s, ${gigabits} Gbit/s`;
}
