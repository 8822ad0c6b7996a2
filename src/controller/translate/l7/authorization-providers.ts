/**
 * External authorization services of the mesh configuration (`extensionProviders`). One that cannot be used is left out:
 * the requests that its CUSTOM policies match are denied.
 * Source: Istio MeshConfig.ExtensionProvider.
 */
import type { AuthorizationProvider, TextMatch } from '../../../model/l7/index.ts';
import { toText } from './http-authorization.ts';
import { istioDurationMs } from './istio-duration.ts';
import { type Fields, fieldsOf, listOf, textOf, textsOf } from './mesh-config.ts';

const TIMEOUT_MS = 600_000;
const STATUS_ON_ERROR = 403;

/** @param findHost key of the cluster that a host name means */
export function authorizationProviders(
  mesh: Fields,
  findHost: (hostname: string) => string | undefined,
): readonly AuthorizationProvider[] {
  return listOf(mesh.extensionProviders).flatMap((entry): readonly AuthorizationProvider[] => {
    const http = entry.envoyExtAuthzHttp;
    const given = fieldsOf(http ?? entry.envoyExtAuthzGrpc);
    const [hostname = ''] = textOf(given.service).split('/').slice(-1);
    const cluster = findHost(hostname);
    const port = Number(given.port);
    const name = textOf(entry.name);
    // The body of a request is not shown to anybody: a provider that asks for it would judge without.
    if (name === '' || cluster === undefined || !(port > 0 && port <= 65_535)) return [];
    if (given.includeRequestBodyInCheck !== undefined) return [];
    const headers = (...names: readonly string[]): readonly TextMatch[] =>
      names.flatMap((field) => textsOf(given[field])).map((one) => toText(one.toLowerCase(), false));
    return [
      {
        name,
        kind: http ? 'HTTP' : 'GRPC',
        cluster,
        port,
        timeoutMs: istioDurationMs(textOf(given.timeout)) || TIMEOUT_MS,
        pathPrefix: textOf(given.pathPrefix),
        failOpen: given.failOpen === true,
        statusOnError: Number(textOf(given.statusOnError)) || STATUS_ON_ERROR,
        includeRequestHeaders: headers('includeRequestHeadersInCheck', 'includeHeadersInCheck'),
        additionalHeaders: Object.entries(fieldsOf(given.includeAdditionalHeadersInCheck)).map(([key, value]) => ({
          name: key.toLowerCase(),
          value: String(value),
        })),
        headersUpstreamOnAllow: headers('headersToUpstreamOnAllow'),
        headersDownstreamOnDeny: headers('headersToDownstreamOnDeny'),
        headersDownstreamOnAllow: headers('headersToDownstreamOnAllow'),
      },
    ];
  });
}
