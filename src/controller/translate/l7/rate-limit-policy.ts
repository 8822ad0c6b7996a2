/** RateLimitPolicy (culvert.dev) to what a waypoint counts. */
import type { HttpMatch, RateLimit, RateLimitPolicy } from '../../../model/l7/index.ts';
import type { RateLimitSpec } from '../../../schema/index.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { namespaceOf, type RateLimitPolicyObject } from '../../resources.ts';
import { istioDurationMs } from './istio-duration.ts';

/** For one answer of a rate limit service. Source: Envoy asks with 20 ms, which a loaded machine does not keep. */
const SERVICE_TIMEOUT_MS = 200;
const PATHS = { Exact: 'EXACT', PathPrefix: 'SEGMENTS', RegularExpression: 'REGEX' } as const;
const KEYS = {
  Route: 'ROUTE',
  Header: 'HEADER',
  SourceIdentity: 'SOURCE_IDENTITY',
  SourceNamespace: 'SOURCE_NAMESPACE',
  RemoteIP: 'REMOTE_IP',
  Method: 'METHOD',
  Path: 'PATH',
  Claim: 'CLAIM',
} as const;

export function translateRateLimitPolicy(object: RateLimitPolicyObject, settings: MeshSettings): RateLimitPolicy {
  const namespace = namespaceOf(object);
  const limits = object.spec.limits.map((limit) => translateLimit(limit, namespace, settings));
  return { namespace, name: object.metadata.name, limits };
}

function translateLimit(limit: RateLimitSpec, own: string, { clusterDomain }: MeshSettings): RateLimit {
  const { match, keys = [], local, global } = limit;
  return {
    ...(match ? { match: toMatch(match) } : {}),
    keys: keys.map(({ type, name = '' }) => ({
      kind: KEYS[type],
      name: type === 'Header' ? name.toLowerCase() : name,
    })),
    ...(local
      ? {
          local: {
            requests: local.requests,
            intervalMs: Math.max(1, istioDurationMs(local.interval)),
            burst: local.burst ?? local.requests,
          },
        }
      : {}),
    ...(global ? { global: toGlobal(global, own, clusterDomain) } : {}),
  };
}

function toGlobal(
  { service, domain, timeout, failOpen = false }: NonNullable<RateLimitSpec['global']>,
  own: string,
  clusterDomain: string,
) {
  const namespace = service.namespace ?? own;
  const cluster = `${namespace}/${service.name}.${namespace}.svc.${clusterDomain}`;
  const timeoutMs = istioDurationMs(timeout) || SERVICE_TIMEOUT_MS;
  return { cluster, port: service.port, domain, timeoutMs, failOpen };
}

function toMatch({ path, method, headers = [] }: NonNullable<RateLimitSpec['match']>): HttpMatch {
  return {
    ...(path ? { path: { kind: PATHS[path.type ?? 'PathPrefix'], value: path.value, ignoreCase: false } } : {}),
    ...(method === undefined ? {} : { method: { kind: 'EXACT' as const, value: method, ignoreCase: false } }),
    headers: headers.map(({ name, type, value }) => ({
      name: name.toLowerCase(),
      match: {
        kind: type === 'RegularExpression' ? ('REGEX' as const) : ('EXACT' as const),
        value,
        ignoreCase: false,
      },
      invert: false,
    })),
    query: [],
  };
}
