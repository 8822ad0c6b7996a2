/** HTTP requests by wrk: keep-alive over a fixed number of connections, or a new connection for every request. */
import { join } from 'node:path';
import type { BenchPods } from '../pods.ts';

export interface RequestFigures {
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly errors: number;
}

export interface RequestLoad {
  readonly connections: number;
  readonly keepAlive: boolean;
  readonly seconds: number;
}

const HTTP_PORT = 8080;

export async function measureRequests(pods: BenchPods, load: RequestLoad): Promise<RequestFigures> {
  const script = join(import.meta.dirname, '..', 'wrk-report.lua');
  const output = await pods.inClient(
    [
      'wrk',
      `-t${Math.min(2, load.connections)}`,
      `-c${load.connections}`,
      `-d${load.seconds}s`,
      '-s',
      script,
      ...(load.keepAlive ? [] : ['-H', 'Connection: close']),
      `http://${pods.httpIp}:${HTTP_PORT}/1k`,
    ],
    (load.seconds + 30) * 1_000,
  );
  const line = output.split('\n').find((text) => text.startsWith('REPORT '));
  if (line === undefined) throw new Error(`wrk printed no report: ${output.slice(-200)}`);
  const report = JSON.parse(line.slice('REPORT '.length)) as {
    requests: number;
    seconds: number;
    p50us: number;
    p99us: number;
    p999us: number;
    errors: number;
  };
  return {
    requestsPerSecond: report.requests / report.seconds,
    p50Us: report.p50us,
    p99Us: report.p99us,
    p999Us: report.p999us,
    // with a connection per request wrk counts the server's orderly close as a read error
    errors: load.keepAlive ? report.errors : 0,
  };
}
