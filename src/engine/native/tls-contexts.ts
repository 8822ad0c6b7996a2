/** TLS contexts of the add-on by certificate version, so that a key is parsed once per certificate. */
import { LRUCache } from 'lru-cache';
import { MeshError } from '../../core/errors.ts';
import type { TlsCredentials } from '../port.ts';
import type { Addon, TlsContextHandle } from './addon.ts';

/** Certificates in use on one node: one per service account with a pod there. */
const MAX_CONTEXTS = 1_000;

export class TlsContexts {
  readonly #addon: Pick<Addon, 'createContext'>;
  readonly #contexts = new LRUCache<string, TlsContextHandle>({ max: MAX_CONTEXTS });

  constructor(addon: Pick<Addon, 'createContext'>) {
    this.#addon = addon;
  }

  /** Throws ERR_IDENTITY with what OpenSSL says of a key or certificate that it cannot use. */
  get({ version, privateKeyPem, certChainPem, rootsPem }: TlsCredentials): TlsContextHandle {
    const known = this.#contexts.get(version);
    if (known) return known;
    const made = this.#addon.createContext(privateKeyPem, certChainPem, rootsPem);
    if (typeof made === 'string') throw new MeshError('ERR_IDENTITY', `unusable certificate: ${made}`);
    this.#contexts.set(version, made);
    return made;
  }
}
