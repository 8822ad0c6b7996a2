/** What is told when a request or a connection is over: metrics always, an access log line where one is asked for. */
import type { Clock } from '../../core/clock.ts';
import type { AccessLog } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { ConnectionEnd } from '../listener/tcp-proxy.ts';
import type { TunnelContext } from '../listener/tunnel-context.ts';
import type { CompiledPort } from '../state/compiled-service.ts';
import { compileLog, type LogLine } from './log-format.ts';
import type { RequestMetrics } from './request-metrics.ts';

export interface WaypointTelemetryDeps {
  readonly metrics: RequestMetrics;
  readonly clock: Clock;
  /** Writes one line of an access log. */
  readonly writeAccessLog: (line: string) => void;
}

export class WaypointTelemetry {
  readonly #deps: WaypointTelemetryDeps;
  readonly #lines = new WeakMap<AccessLog, LogLine>();

  constructor(deps: WaypointTelemetryDeps) {
    this.#deps = deps;
  }

  done(exchange: Exchange, port: CompiledPort, nowMs: number): void {
    const { metrics, clock, writeAccessLog } = this.#deps;
    const durationMs = nowMs - exchange.startedMs;
    metrics.request(exchange, port, durationMs);
    const telemetry = port.service.telemetry ?? port.gateway.telemetry;
    if (telemetry.accessLogs.length === 0) return;
    const logged = { exchange, startedAt: new Date(clock.nowMs() - durationMs), durationMs };
    for (const log of telemetry.accessLogs) {
      if (log.kind === 'FILE') writeAccessLog(this.#lineOf(log)(logged));
    }
  }

  /** Formats are compiled once, and forgotten with their configuration. */
  #lineOf(log: AccessLog): LogLine {
    const known = this.#lines.get(log);
    if (known) return known;
    const line = compileLog(log);
    this.#lines.set(log, line);
    return line;
  }

  tcpOpened = (context: TunnelContext, port: CompiledPort): void => this.#deps.metrics.tcpOpened(context, port);

  tcpClosed = (context: TunnelContext, port: CompiledPort, end: ConnectionEnd): void =>
    this.#deps.metrics.tcpClosed(context, port, end);

  malformed = (_context: TunnelContext | undefined, code: string): void => this.#deps.metrics.malformed(code);
}
