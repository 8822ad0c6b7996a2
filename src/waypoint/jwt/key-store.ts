/** Key sources by where keys come from: they outlive changes of the configuration, so that none makes anybody wait. */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/clock.ts';
import type { JwtRule } from '../../model/l7/index.ts';
import { discoverKeys, type FetchText, inlineKeys, type KeySource, RemoteKeys } from './key-source.ts';

const SOURCES_MAX = 1_000;

export class KeyStore {
  readonly #sources = new LRUCache<string, KeySource>({ max: SOURCES_MAX });
  readonly #clock: Clock;
  readonly #fetch: FetchText;

  constructor(deps: { readonly clock: Clock; readonly fetch: FetchText }) {
    this.#clock = deps.clock;
    this.#fetch = deps.fetch;
  }

  sourceOf({ issuer, jwks, jwksUri, fetchTimeoutMs }: JwtRule): KeySource {
    if (jwks !== '') return inlineKeys(jwks);
    const key = jwksUri === '' ? `issuer ${issuer}` : `uri ${jwksUri}`;
    const known = this.#sources.get(key);
    if (known) return known;
    const load =
      jwksUri === ''
        ? () => discoverKeys(issuer, fetchTimeoutMs, this.#fetch)
        : () => this.#fetch(jwksUri, fetchTimeoutMs);
    const source = new RemoteKeys(load, this.#clock);
    this.#sources.set(key, source);
    return source;
  }
}
