/** What a policy is asked about: a request, or a connection whose bytes are not looked into. */

import type { ClientFacts, Exchange } from '../http/exchange.ts';
import type { JwtFacts } from '../jwt/jwt-facts.ts';

export interface PolicyRequest {
  readonly client: ClientFacts;
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** Of a TLS ClientHello; empty: none. */
  readonly serverName: string;
  /** Undefined for connections. */
  readonly http: HttpFacts | undefined;
}

export interface HttpFacts {
  readonly exchange: Pick<Exchange, 'method' | 'path' | 'requestAuthority' | 'headers'>;
  readonly remoteIp: string;
  readonly jwt: JwtFacts | undefined;
}

export const JWT = 'jwt';

/** For requests as they reach the service; endpoints are told apart by `at`. */
export function requestOf(
  exchange: Exchange,
  trustedProxies: number,
  at: { readonly ip: string; readonly port: number },
): PolicyRequest {
  const { client, headers, metadata } = exchange;
  return {
    client,
    destinationIp: at.ip,
    destinationPort: at.port,
    serverName: '',
    http: {
      exchange,
      remoteIp: remoteIpOf(headers.get('x-forwarded-for'), client.ip, trustedProxies),
      jwt: metadata.get(JWT) as JwtFacts | undefined, // the authentication filter alone writes it
    },
  };
}

/** The entry that the last trusted proxy wrote; without such a header the peer itself. */
function remoteIpOf(forwardedFor: string | undefined, peer: string, trustedProxies: number): string {
  if (forwardedFor === undefined) return peer;
  const entries = forwardedFor.split(',');
  return entries[entries.length - 1 - trustedProxies]?.trim() || peer;
}
