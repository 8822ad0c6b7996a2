/** URL rewrites of routes: host and path as the endpoint sees them. The path before is told in `x-envoy-original-path`. */
import { compileSearch, type PathMatch, type PathModifier } from '../../model/l7/index.ts';

import type { FilterFactory } from './filter.ts';

export const rewrite: FilterFactory = {
  name: 'rewrite',
  compile({ port }) {
    const routes = port.virtualHosts.flatMap((host) => host.routes).filter((route) => route.rewrite);
    if (routes.length === 0) return undefined;
    const paths = new Map(
      routes.flatMap((route) =>
        route.rewrite?.path ? [[route, compilePath(route.rewrite.path, route.match.path)]] : [],
      ),
    );
    return {
      request(exchange) {
        const { route } = exchange;
        if (!route?.rewrite) return undefined;
        if (route.rewrite.hostname !== undefined) exchange.authority = route.rewrite.hostname;
        const change = paths.get(route);
        if (change) {
          exchange.headers.set('x-envoy-original-path', exchange.path + exchange.query);
          exchange.path = change(exchange.path);
        }
        return undefined;
      },
    };
  },
};

/** Throws ERR_MALFORMED for an expression that cannot be used. */
export function compilePath({ kind, value, pattern }: PathModifier, match: PathMatch | undefined) {
  if (kind === 'FULL') return () => value;
  if (kind === 'REGEX') {
    const expression = compileSearch(pattern);
    const replacement = value.replaceAll('$', '$$$$').replace(/\\(\d)/g, '$$$1');
    return (path: string) => path.replace(expression, replacement);
  }
  const prefix = match?.value ?? '/';
  if (match?.kind === 'SEGMENTS' || match === undefined) return (path: string) => replaceSegments(path, prefix, value);
  return (path: string) => value + path.slice(prefix.length);
}

/** Slashes between the new prefix and the rest are neither doubled nor lost; at least `/` is left. */
function replaceSegments(path: string, prefix: string, value: string): string {
  const rest = path.slice(prefix.replace(/\/$/, '').length);
  const joined = value.replace(/\/$/, '') + (rest === '' || rest.startsWith('/') ? rest : `/${rest}`);
  return joined === '' ? '/' : joined;
}
