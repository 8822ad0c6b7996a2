/**
 * Metric registries of the programs and their exposition as OpenMetrics text.
 * Source: OpenMetrics 1.0; the answer to `Accept` is that of the Istio node tunnel.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { Gauge, type OpenMetricsContentType, Registry } from 'prom-client';

export type MetricsRegistry = Registry<OpenMetricsContentType>;

/** A registry with `process_open_fds` and `process_max_fds`. */
export function newMetricsRegistry(): MetricsRegistry {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  new Gauge({
    name: 'process_open_fds',
    help: 'Number of open file descriptors',
    registers: [registry],
    collect() {
      this.set(countOpenFiles());
    },
  });
  new Gauge({
    name: 'process_max_fds',
    help: 'Maximum number of file descriptors',
    registers: [registry],
    collect() {
      this.set(readOpenFilesMax());
    },
  });
  return registry;
}

export interface MetricsAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The registry as text, in the content type and coding that the client accepts. */
export async function renderMetrics(
  registry: MetricsRegistry,
  accept: string | undefined,
  acceptEncoding: string | undefined,
): Promise<MetricsAnswer> {
  const text = withUnits(await registry.metrics());
  const headers = { 'content-type': metricsContentType(accept) };
  const wantsGzip = mediaRanges(acceptEncoding).includes('gzip');
  if (!wantsGzip) return { headers, body: Buffer.from(text) };
  return { headers: { ...headers, 'content-encoding': 'gzip', vary: 'accept-encoding' }, body: gzipSync(text) };
}

/** Plain text by default and for unsupported types; OpenMetrics if any element of `Accept` asks for it. */
export function metricsContentType(accept: string | undefined): string {
  return mediaRanges(accept).includes('application/openmetrics-text')
    ? 'application/openmetrics-text;charset=utf-8;version=1.0.0'
    : 'text/plain; charset=utf-8';
}

function mediaRanges(header: string | undefined): string[] {
  return (header ?? '').split(',').map((element) => (element.split(';')[0] ?? '').trim().toLowerCase());
}

/** OpenMetrics names the unit of a metric whose name ends in one; prom-client does not write that line. */
function withUnits(text: string): string {
  return text.replace(/^# TYPE (istio_xds_message_bytes|\w+_seconds) (\w+)$/gm, (line, name: string) => {
    const unit = name.slice(name.lastIndexOf('_') + 1);
    return `${line}\n# UNIT ${name} ${unit}`;
  });
}

function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length - 1; // the folder itself is open while it is read
  } catch {
    return 0;
  }
}

function readOpenFilesMax(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return Number(found?.[1] ?? 0);
  } catch {
    return 0;
  }
}
