/**
 * What ties a request to an endpoint: the hash of what a load balancer hashes, and the mark of a session. A session's mark
 * names its endpoint, so that it stays put whatever endpoints come and go, for as long as that one is there.
 * Source: Istio ConsistentHashLB, Gateway API SessionPersistence, RFC 6265.
 */
import { randomUUID } from 'node:crypto';
import type { HashKey, SessionPersistence } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { HeaderList } from '../http/header-list.ts';
import { hash32 } from './consistent-hash.ts';

/** Undefined when the request has none of the keys. A cookie that is to be made is put on the answer. */
export function requestHash(keys: readonly HashKey[], exchange: Exchange): number | undefined {
  for (const key of keys) {
    const text = textOf(key, exchange);
    if (text !== undefined) return hash32(text);
    if (key.kind === 'COOKIE' && key.cookieTtlMs !== undefined) {
      const value = randomUUID();
      exchange.setCookies.push(
        cookieText(key.name, value, { ttlSeconds: Math.round(key.cookieTtlMs / 1_000), path: key.cookiePath }),
      );
      return hash32(value);
    }
  }
  return undefined;
}

function textOf({ kind, name }: HashKey, { headers, query, client }: Exchange): string | undefined {
  switch (kind) {
    case 'HEADER':
      return headers.get(name);
    case 'COOKIE':
      return readCookie(headers.get('cookie'), name);
    case 'QUERY':
      return new URLSearchParams(query).get(name) ?? undefined;
    case 'SOURCE_IP':
      return client.ip;
  }
}

/** Uid of the endpoint that the session of this request is with. */
export function sessionEndpoint({ kind, name }: SessionPersistence, { headers }: Exchange): string | undefined {
  const mark = kind === 'HEADER' ? headers.get(name) : readCookie(headers.get('cookie'), name);
  return mark === undefined ? undefined : Buffer.from(mark, 'base64url').toString('utf8');
}

/** Puts the mark of a new session on the answer. */
export function markSession(session: SessionPersistence, uid: string, headers: HeaderList): void {
  const mark = Buffer.from(uid).toString('base64url');
  if (session.kind === 'HEADER') headers.set(session.name, mark);
  else headers.append('set-cookie', cookieText(session.name, mark, session));
}

export function readCookie(header: string | undefined, name: string): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const equals = part.indexOf('=');
    if (equals > 0 && part.slice(0, equals).trim() === name) {
      return part
        .slice(equals + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1');
    }
  }
  return undefined;
}

function cookieText(name: string, value: string, life: { readonly ttlSeconds: number; readonly path: string }): string {
  const age = life.ttlSeconds > 0 ? `; Max-Age=${life.ttlSeconds}` : '';
  const path = life.path === '' ? '' : `; Path=${life.path}`;
  return `${name}=${value}${age}${path}; HttpOnly`;
}
