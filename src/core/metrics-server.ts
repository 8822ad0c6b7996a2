/** Serves a metrics registry at `/metrics` and `/stats/prometheus`; any other path is 404. */
import { type HttpListener, serveHttp, textAnswer } from './http-listener.ts';
import { type MetricsRegistry, renderMetrics } from './metrics.ts';

const PATHS: ReadonlySet<string> = new Set(['/metrics', '/stats/prometheus']);

/** The caller disposes of the listener. */
export function serveMetrics(
  address: { readonly host: string; readonly port: number },
  registry: MetricsRegistry,
): Promise<HttpListener> {
  return serveHttp(address, async ({ path, headers }) => {
    if (!PATHS.has(path)) return textAnswer(404, 'not found\n');
    const acceptEncoding = headers['accept-encoding'];
    const encoding = Array.isArray(acceptEncoding) ? acceptEncoding.join(',') : acceptEncoding;
    return { status: 200, ...(await renderMetrics(registry, headers.accept, encoding)) };
  });
}
