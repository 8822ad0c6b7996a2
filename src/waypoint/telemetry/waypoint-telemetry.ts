/** What is told when a request or a connection is over: metrics always, an access log line where one is asked for. */
import type { Clock } from '../../core/clock.ts';
import type { Exchange } from '../http/exchange.ts';
import type { ConnectionEnd } from '../listener/tcp-proxy.ts';
import type { TunnelContext } from '../listener/tunnel-context.ts';
import type { CompiledPort } from '../state/compiled-service.ts';
import { accessLogLine } from './access-log.ts';
import type { RequestMetrics } from './request-metrics.ts';

export interface WaypointTelemetryDeps {
  readonly metrics: RequestMetrics;
  readonly clock: Clock;
  /** Writes one line of an access log. */
  readonly writeAccessLog: (line: string) => void;
}

export class WaypointTelemetry {
  readonly #deps: WaypointTelemetryDeps;

  constructor(deps: WaypointTelemetryDeps) {
    this.#deps = deps;
  }

  done(exchange: Exchange, port: CompiledPort, nowMs: number): void {
    const { metrics, clock, writeAccessLog } = this.#deps;
    const durationMs = nowMs - exchange.startedMs;
    metrics.request(exchange, port, durationMs);
    const telemetry = port.service.telemetry ?? port.gateway.telemetry;
    if (telemetry.accessLogs.length === 0) return;
    writeAccessLog(accessLogLine(exchange, new Date(clock.nowMs() - durationMs), durationMs));
  }

  tcpOpened = (context: TunnelContext, port: CompiledPort): void => this.#deps.metrics.tcpOpened(context, port);

  tcpClosed = (context: TunnelContext, port: CompiledPort, end: ConnectionEnd): void =>
    this.#deps.metrics.tcpClosed(context, port, end);

  malformed = (_context: TunnelContext | undefined, code: string): void => this.#deps.metrics.malformed(code);
}
