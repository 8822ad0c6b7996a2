/** Bulk throughput by iperf3, in Gbit/s as the receiver counted it. */
import type { BenchPods } from '../pods.ts';

const IPERF_PORT = 5201;

export async function measureThroughput(pods: BenchPods, streams: number, seconds: number): Promise<number> {
  const output = await pods.inClient(
    ['iperf3', '-J', '-c', pods.bulkIp, '-p', String(IPERF_PORT), '-P', String(streams), '-t', String(seconds)],
    (seconds + 20) * 1_000,
  );
  const report = JSON.parse(output) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  if (report.end?.sum_received === undefined) throw new Error(`iperf3: ${report.error ?? 'no result'}`);
  return report.end.sum_received.bits_per_second / 1e9;
}
