/**
 * Cross-origin requests of routes: preflights are answered here, other answers tell the browser what it may read.
 * Source: Fetch standard (CORS protocol); Gateway API and Istio on what happens to origins that are not allowed.
 */
import type { CorsPolicy, HttpRoute } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { HeaderList } from '../http/header-list.ts';
import type { Reply } from '../http/reply.ts';
import { compileText, type TextPredicate } from '../match/text-matcher.ts';
import type { FilterFactory } from './filter.ts';

interface CompiledCors {
  readonly policy: CorsPolicy;
  readonly origins: readonly TextPredicate[];
}

export const cors: FilterFactory = {
  name: 'cors',
  compile({ port }) {
    const policies = new Map<HttpRoute, CompiledCors>();
    for (const route of port.virtualHosts.flatMap((host) => host.routes)) {
      if (route.cors) policies.set(route, { policy: route.cors, origins: route.cors.origins.map(compileText) });
    }
    if (policies.size === 0) return undefined;
    return {
      request(exchange) {
        const compiled = exchange.route && policies.get(exchange.route);
        if (!compiled || !isPreflight(exchange)) return undefined;
        if (isAllowed(compiled, exchange)) return preflightReply(compiled.policy, exchange);
        return compiled.policy.forwardUnmatched ? undefined : FORBIDDEN_PREFLIGHT;
      },
      response(exchange) {
        const compiled = exchange.route && policies.get(exchange.route);
        const headers = exchange.responseHeaders;
        if (!compiled || !headers || isPreflight(exchange)) return;
        if (!isAllowed(compiled, exchange)) return;
        allowOrigin(compiled.policy, exchange, headers);
        const { exposedHeaders } = compiled.policy;
        if (exposedHeaders.length > 0) headers.set('access-control-expose-headers', exposedHeaders.join(', '));
      },
    };
  },
};

const FORBIDDEN_PREFLIGHT: Reply = { status: 200, body: '', flag: '', details: 'cors_rejected' };

function isPreflight({ method, headers }: Exchange): boolean {
  return method === 'OPTIONS' && headers.has('origin') && headers.has('access-control-request-method');
}

function isAllowed({ origins }: CompiledCors, { headers }: Exchange): boolean {
  const origin = headers.get('origin');
  return origin !== undefined && origins.some((matches) => matches(origin));
}

function preflightReply(policy: CorsPolicy, exchange: Exchange): Reply {
  const headers = new HeaderList();
  allowOrigin(policy, exchange, headers);
  const { methods, requestHeaders, maxAgeSeconds } = policy;
  const asked = (name: string): string => exchange.headers.get(name) ?? '';
  const list = (values: readonly string[], wanted: string): string =>
    values.includes('*') ? wanted || '*' : values.join(', ');
  if (methods.length > 0) {
    headers.set('access-control-allow-methods', list(methods, asked('access-control-request-method')));
  }
  if (requestHeaders.length > 0) {
    headers.set('access-control-allow-headers', list(requestHeaders, asked('access-control-request-headers')));
  }
  if (maxAgeSeconds !== undefined) headers.set('access-control-max-age', String(maxAgeSeconds));
  return { status: 200, body: '', headers, flag: '', details: 'cors_response' };
}

function allowOrigin({ credentials }: CorsPolicy, exchange: Exchange, headers: HeaderList): void {
  headers.set('access-control-allow-origin', exchange.headers.get('origin') ?? '*');
  headers.append('vary', 'Origin'); // the answer depends on who asks
  if (credentials) headers.set('access-control-allow-credentials', 'true');
}
