/**
 * Headers that say where a request came from: x-forwarded-*, x-request-id, and the marks that only proxies may set.
 * Source: Istio waypoint (what is kept, made and removed).
 */
import { randomUUID } from 'node:crypto';
import { identityUri } from '../../model/identity.ts';
import type { FilterFactory } from './filter.ts';

/** Clients could steer retries and timeouts with these; nobody is internal enough for that. */
const STEERING: ReadonlySet<string> = new Set([
  'x-envoy-max-retries',
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-upstream-rq-timeout-alt-response',
  'x-envoy-hedge-on-per-try-timeout',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-attempt-count',
  'x-envoy-original-path',
  'x-envoy-internal',
  'x-envoy-decorator-operation',
]);
const REMOVED: ReadonlySet<string> = new Set([...STEERING, 'x-forwarded-client-cert']);
const XFCC = 'x-forwarded-client-cert';

export const forwardedHeaders: FilterFactory = {
  name: 'forwarded headers',
  compile({ gateway, deps }) {
    return {
      request(exchange) {
        const { headers, client } = exchange;
        headers.deleteWhere((name) => name.startsWith('x-') && REMOVED.has(name));
        if (!headers.has('x-forwarded-proto')) headers.append('x-forwarded-proto', 'http');
        if (!headers.has('x-request-id')) headers.append('x-request-id', randomUUID());
        if (gateway.xfccIncludesClient) {
          headers.append(XFCC, `By=${identityUri(deps.identity)};URI=${identityUri(client.identity)}`);
        }
        return undefined;
      },
      response({ responseHeaders, respondedMs, upstreamStartedMs }) {
        if (!responseHeaders) return;
        responseHeaders.set('server', 'istio-envoy');
        if (respondedMs > 0) {
          const tookMs = Math.max(0, Math.round(respondedMs - upstreamStartedMs));
          responseHeaders.set('x-envoy-upstream-service-time', String(tookMs));
        }
      },
    };
  },
};
