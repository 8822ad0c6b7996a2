/** What requests share a budget by: the keys of a limit, taken from a request. Their names are those of Envoy's descriptors. */
import type { RateLimitKey } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { claimTexts, type JwtFacts } from '../jwt/jwt-facts.ts';
import { JWT } from '../policy/policy-request.ts';
import type { DescriptorEntry } from './rate-limit-codec.ts';

export type Keyed = Pick<Exchange, 'client' | 'headers' | 'method' | 'path' | 'metadata' | 'route'>;

/** A longer value could only be there to fill memory. */
const MAX_VALUE_CHARS = 512;

/** Undefined when the request lacks one of the keys: then the limit does not apply. */
export function limitEntries(keys: readonly RateLimitKey[], exchange: Keyed): readonly DescriptorEntry[] | undefined {
  const entries: DescriptorEntry[] = [];
  for (const key of keys) {
    const value = limitValue(key, exchange);
    if (value === undefined || value === '') return undefined;
    entries.push({ key: nameOf(key), value: value.slice(0, MAX_VALUE_CHARS) });
  }
  return entries;
}

function limitValue({ kind, name }: RateLimitKey, exchange: Keyed): string | undefined {
  switch (kind) {
    case 'ROUTE':
      return exchange.route?.name;
    case 'HEADER':
      return exchange.headers.get(name.toLowerCase());
    case 'SOURCE_IDENTITY':
      return exchange.client.principal;
    case 'SOURCE_NAMESPACE':
      return exchange.client.identity.namespace;
    case 'REMOTE_IP':
      return exchange.headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() || exchange.client.ip;
    case 'METHOD':
      return exchange.method;
    case 'PATH':
      return exchange.path;
    case 'CLAIM': {
      const jwt = exchange.metadata.get(JWT) as JwtFacts | undefined; // the authentication filter alone writes it
      return jwt && claimTexts(jwt, name.split('.'))[0];
    }
  }
}

const NAMES: Readonly<Record<RateLimitKey['kind'], string>> = {
  ROUTE: 'route',
  HEADER: '',
  SOURCE_IDENTITY: 'source_identity',
  SOURCE_NAMESPACE: 'source_namespace',
  REMOTE_IP: 'remote_address',
  METHOD: 'method',
  PATH: 'path',
  CLAIM: '',
};

function nameOf({ kind, name }: RateLimitKey): string {
  return NAMES[kind] || name;
}
