/** TLS contexts by certificate version, so that a key is parsed once per certificate and not once per connection. */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { TLS_PARAMETERS } from './parameters.ts';

/** Certificates in use on one node: one per service account with a pod there. */
const MAX_CONTEXTS = 1_000;

/** What a context is made of. PEM text. */
export interface ContextCredentials {
  readonly version: string;
  readonly privateKeyPem: string;
  readonly certChainPem: string;
  readonly rootsPem: string;
}

export class TlsContextCache {
  readonly #contexts = new LRUCache<string, SecureContext>({ max: MAX_CONTEXTS });

  /** Throws what OpenSSL says of a key or certificate that it cannot read. */
  get(credentials: ContextCredentials): SecureContext {
    const known = this.#contexts.get(credentials.version);
    if (known) return known;
    const context = createSecureContext(contextOptions(credentials));
    this.#contexts.set(credentials.version, context);
    return context;
  }
}

export function contextOptions({ privateKeyPem, certChainPem, rootsPem }: ContextCredentials) {
  return {
    ...TLS_PARAMETERS,
    key: privateKeyPem,
    cert: certChainPem,
    ca: rootsPem,
    // sessions are long and pooled: resumption would only weaken forward secrecy
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
