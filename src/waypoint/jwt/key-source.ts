/**
 * The keys that tokens of one issuer are verified with.
 *
 * Guarantees
 *  - Requests wait for keys only when there are none yet; later they are fetched beside them.
 *  - A key that is not known starts a fetch, at most one in `REFETCH_MS`: an issuer may rotate at any time. Keys that were
 *    good are kept while the issuer does not answer, for a week.
 *  - An answer has a deadline and a largest size, and is not decompressed.
 * Source: RFC 7517, OpenID Connect Discovery 1.0, Istio (intervals).
 */
import type { JWK } from 'jose';
import type { Clock } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';

const MAX_KEYS = 200;
const REFRESH_MS = 20 * 60_000;
const REFETCH_MS = 5_000;
const KEEP_MS = 7 * 24 * 3_600_000;

/** The text of a resource. Rejects when it cannot be had, or is too large. */
export type FetchText = (uri: string, timeoutMs: number) => Promise<string>;

export interface KeySource {
  /** The keys as they are known, fetched first where there are none. Rejects with ERR_DIAL or ERR_MALFORMED. */
  keys(): Promise<readonly JWK[]>;
  /** The keys once more, because one was missing; those known when it is too soon for that. */
  refreshed(): Promise<readonly JWK[]>;
}

/** Throws ERR_MALFORMED. */
export function parseKeySet(text: string): readonly JWK[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', 'the key set is not JSON', { cause });
  }
  const { keys } = (parsed ?? {}) as { readonly keys?: unknown };
  if (!Array.isArray(keys)) throw new MeshError('ERR_MALFORMED', 'the key set has no list of keys');
  return keys.filter((key): key is JWK => typeof key?.kty === 'string').slice(0, MAX_KEYS);
}

export function inlineKeys(jwks: string): KeySource {
  const keys = async (): Promise<readonly JWK[]> => parseKeySet(jwks);
  return { keys, refreshed: keys };
}

export class RemoteKeys implements KeySource {
  readonly #fetch: () => Promise<string>;
  readonly #clock: Clock;
  #keys: readonly JWK[] | undefined;
  #fetchedMs = Number.NEGATIVE_INFINITY;
  #triedMs = Number.NEGATIVE_INFINITY;
  #pending: Promise<readonly JWK[]> | undefined;

  constructor(fetch: () => Promise<string>, clock: Clock) {
    this.#fetch = fetch;
    this.#clock = clock;
  }

  async keys(): Promise<readonly JWK[]> {
    const ageMs = this.#clock.monotonicMs() - this.#fetchedMs;
    if (!this.#keys || ageMs > KEEP_MS) return this.#load();
    if (ageMs > REFRESH_MS && this.#mayTry()) this.#load().catch(() => undefined); // the known keys serve on
    return this.#keys;
  }

  async refreshed(): Promise<readonly JWK[]> {
    if (this.#pending) return this.#pending;
    if (!this.#mayTry()) return this.#keys ?? [];
    return this.#load().catch(() => this.#keys ?? []);
  }

  #mayTry(): boolean {
    return this.#clock.monotonicMs() - this.#triedMs >= REFETCH_MS;
  }

  #load(): Promise<readonly JWK[]> {
    if (this.#pending) return this.#pending;
    if (!this.#mayTry() && !this.#keys) {
      return Promise.reject(new MeshError('ERR_DIAL', 'the keys could not be fetched a moment ago'));
    }
    this.#triedMs = this.#clock.monotonicMs();
    this.#pending = this.#fetch()
      .then((text) => {
        this.#keys = parseKeySet(text);
        this.#fetchedMs = this.#clock.monotonicMs();
        return this.#keys;
      })
      .finally(() => {
        this.#pending = undefined;
      });
    return this.#pending;
  }
}

/** Where an issuer says its keys are. */
export async function discoverKeys(issuer: string, timeoutMs: number, fetch: FetchText): Promise<string> {
  const base = issuer.replace(/\/$/, '');
  const text = await fetch(`${base}/.well-known/openid-configuration`, timeoutMs);
  let uri: unknown;
  try {
    uri = (JSON.parse(text) as { readonly jwks_uri?: unknown } | null)?.jwks_uri;
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', `the OpenID configuration of ${issuer} is not JSON`, { cause });
  }
  if (typeof uri !== 'string')
    throw new MeshError('ERR_MALFORMED', `the OpenID configuration of ${issuer} has no jwks_uri`);
  return fetch(uri, timeoutMs);
}
