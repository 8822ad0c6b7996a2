/** RequestAuthentication to what a waypoint checks. Source: Istio RequestAuthentication. */
import type { HttpAuthentication } from '../../../model/l7/index.ts';
import { namespaceOf, type RequestAuthentication } from '../../resources.ts';
import { istioDurationMs } from './istio-duration.ts';

/** For the answer to a request for keys. Source: Istio. */
const FETCH_TIMEOUT_MS = 5_000;

export function translateHttpAuthentication(object: RequestAuthentication): HttpAuthentication {
  return {
    namespace: namespaceOf(object),
    name: object.metadata.name,
    rules: (object.spec?.jwtRules ?? []).map((rule) => ({
      issuer: rule.issuer,
      audiences: rule.audiences ?? [],
      jwks: rule.jwks ?? '',
      jwksUri: rule.jwksUri ?? rule.jwks_uri ?? '',
      fetchTimeoutMs: istioDurationMs(rule.timeout) || FETCH_TIMEOUT_MS,
      fromHeaders: (rule.fromHeaders ?? []).map(({ name, prefix = '' }) => ({ name: name.toLowerCase(), prefix })),
      fromParams: rule.fromParams ?? [],
      fromCookies: rule.fromCookies ?? [],
      outputPayloadToHeader: rule.outputPayloadToHeader?.toLowerCase() ?? '',
      forwardOriginalToken: rule.forwardOriginalToken ?? false,
      outputClaimToHeaders: (rule.outputClaimToHeaders ?? []).map(({ header, claim }) => ({
        header: header.toLowerCase(),
        claim,
      })),
      spaceDelimitedClaims: rule.spaceDelimitedClaims ?? [],
    })),
  };
}
