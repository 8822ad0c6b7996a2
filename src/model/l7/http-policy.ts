/**
 * Authorization and authentication of requests.
 * A policy is an OR of rules; a rule an AND of (any source), (any operation) and all conditions; lists are ORs.
 * Source: Istio AuthorizationPolicy and RequestAuthentication.
 */
import type { IpRange } from '../address.ts';
import type { ServiceAccountMatch } from '../authorization.ts';
import type { TextMatch } from './text-match.ts';

export interface HttpAuthorization {
  readonly namespace: string;
  readonly name: string;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
  /** Name of the provider of a CUSTOM policy; one that the gateway does not know denies what matches. */
  readonly provider: string;
  /** Evaluated and told, without effect. */
  readonly dryRun: boolean;
  readonly rules: readonly HttpPolicyRule[];
}

/** Empty lists do not restrict: a rule of nothing matches everything. */
export interface HttpPolicyRule {
  readonly sources: readonly PolicySource[];
  readonly operations: readonly PolicyOperation[];
  readonly conditions: readonly PolicyCondition[];
}

export interface PolicySource {
  readonly principals: readonly TextMatch[];
  readonly notPrincipals: readonly TextMatch[];
  /** `<iss>/<sub>`. */
  readonly requestPrincipals: readonly TextMatch[];
  readonly notRequestPrincipals: readonly TextMatch[];
  readonly namespaces: readonly TextMatch[];
  readonly notNamespaces: readonly TextMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly trustDomains: readonly TextMatch[];
  readonly notTrustDomains: readonly TextMatch[];
  /** TCP peer of the tunnel. */
  readonly ipRanges: readonly IpRange[];
  readonly notIpRanges: readonly IpRange[];
  /** Client by x-forwarded-for. */
  readonly remoteIpRanges: readonly IpRange[];
  readonly notRemoteIpRanges: readonly IpRange[];
}

export interface PolicyOperation {
  readonly hosts: readonly TextMatch[];
  readonly notHosts: readonly TextMatch[];
  readonly ports: readonly number[];
  readonly notPorts: readonly number[];
  readonly methods: readonly TextMatch[];
  readonly notMethods: readonly TextMatch[];
  readonly paths: readonly PolicyPath[];
  readonly notPaths: readonly PolicyPath[];
}

/** Of the normalised path without query. `TEMPLATE` has `{*}` (one segment) and `{**}` (the rest). */
export interface PolicyPath {
  readonly kind: 'MATCH' | 'TEMPLATE';
  readonly match?: TextMatch;
  readonly template: string;
}

/** `key` in Istio's words (`request.headers[x]`, `request.auth.claims[a][b]`, `destination.port`, ...). */
export interface PolicyCondition {
  readonly key: string;
  readonly values: readonly TextMatch[];
  readonly notValues: readonly TextMatch[];
  /** For keys that are addresses. */
  readonly ipRanges: readonly IpRange[];
  readonly notIpRanges: readonly IpRange[];
}

export interface HttpAuthentication {
  readonly namespace: string;
  readonly name: string;
  readonly rules: readonly JwtRule[];
}

export interface JwtRule {
  readonly issuer: string;
  /** Any of them; empty: not checked. */
  readonly audiences: readonly string[];
  /** JSON Web Key Set; empty when it is fetched from `jwksUri`, or found by the issuer's OpenID configuration. */
  readonly jwks: string;
  readonly jwksUri: string;
  readonly fetchTimeoutMs: number;
  /** None given at all: `Authorization: Bearer` and the parameter `access_token`. */
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  /** Empty: not put out. */
  readonly outputPayloadToHeader: string;
  readonly forwardOriginalToken: boolean;
  readonly outputClaimToHeaders: readonly { readonly header: string; readonly claim: string }[];
  readonly spaceDelimitedClaims: readonly string[];
}

/** An external authorization service. */
export interface AuthorizationProvider {
  readonly name: string;
  readonly kind: 'HTTP' | 'GRPC';
  /** Key of its cluster. */
  readonly cluster: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly pathPrefix: string;
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly includeRequestHeaders: readonly TextMatch[];
  readonly additionalHeaders: readonly { readonly name: string; readonly value: string }[];
  readonly body?: {
    readonly maxBytes: number;
    readonly allowPartial: boolean;
    readonly packAsBytes: boolean;
  };
  readonly headersUpstreamOnAllow: readonly TextMatch[];
  readonly headersDownstreamOnDeny: readonly TextMatch[];
  readonly headersDownstreamOnAllow: readonly TextMatch[];
}
