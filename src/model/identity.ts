/**
 * SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
 * Source: SPIFFE ID specification; the path layout is Istio's.
 */

export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export const DEFAULT_TRUST_DOMAIN = 'cluster.local';

/** Parses a SPIFFE id; undefined when it has another scheme or shape. Extra and empty segments are refused. */
export function parseIdentity(text: string): Identity | undefined {
  if (!text.startsWith('spiffe://')) return undefined;
  const [trustDomain, ns, namespace, sa, serviceAccount, ...rest] = text.slice('spiffe://'.length).split('/');
  if (ns !== 'ns' || sa !== 'sa' || rest.length > 0) return undefined;
  // an empty part is no name, and a peer must not get by with one
  if (!trustDomain || !namespace || !serviceAccount) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

/** The SPIFFE id, scheme included. */
export function identityUri(identity: Identity): string {
  return `spiffe://${identityPrincipal(identity)}`;
}

/** The form policies are written against: the SPIFFE id without its scheme. */
export function identityPrincipal({ trustDomain, namespace, serviceAccount }: Identity): string {
  return `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
}

export function sameIdentity(a: Identity, b: Identity): boolean {
  return a.trustDomain === b.trustDomain && a.namespace === b.namespace && a.serviceAccount === b.serviceAccount;
}
