/** Latency and throughput between two pods on different nodes, measured with wrk and iperf3 inside the pods. */
import { MeshError } from '../core/errors.ts';
import type { Stage } from './demo-stage.ts';

export interface Measurement {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requestsPerSecond: number;
  readonly megabitsPerSecond: number;
}

const SECONDS = 2;

/** Measures from the shopper to details (latency, requests) and to the meter (throughput). About 4 s. */
export async function measure(stage: Stage): Promise<Measurement> {
  const url = 'http://details:9080/health';
  const wrk = await stage.exec('shopper', 'wrk', '-t1', '-c4', `-d${SECONDS}s`, '--latency', url);
  const iperf = await stage.exec('shopper', 'iperf3', '-c', 'meter', '-J', '-t', String(SECONDS));
  return { ...parseWrk(wrk.stdout || wrk.stderr), megabitsPerSecond: parseIperf(iperf.stdout || iperf.stderr) };
}

/** Reads wrk's report. Throws ERR_MALFORMED when a number is missing or requests failed. */
export function parseWrk(text: string): Omit<Measurement, 'megabitsPerSecond'> {
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(text)?.[1];
  const failed = /Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1];
  if (rate === undefined || failed !== undefined) throw new MeshError('ERR_MALFORMED', `wrk reported: ${text.trim()}`);
  return { p50Ms: percentileMs(text, 50), p99Ms: percentileMs(text, 99), requestsPerSecond: Number(rate) };
}

/** Reads the megabits per second received of iperf3's JSON. Throws ERR_MALFORMED. */
export function parseIperf(text: string): number {
  const rate = /"sum_received":\s*\{[^}]*"bits_per_second":\s*([\d.e+]+)/.exec(text)?.[1];
  if (rate === undefined) throw new MeshError('ERR_MALFORMED', `iperf3 reported: ${text.trim().slice(0, 500)}`);
  return Number(rate) / 1e6;
}

function percentileMs(text: string, percentile: number): number {
  const found = new RegExp(`\\s${percentile}%\\s+([\\d.]+)(us|ms|s)`).exec(text);
  const unit = { us: 0.001, ms: 1, s: 1_000 }[found?.[2] ?? ''];
  if (!found || unit === undefined) throw new MeshError('ERR_MALFORMED', `no ${percentile} % in: ${text.trim()}`);
  return Number(found[1]) * unit;
}
