/** A private key that does not show itself in logs, dumps or errors. */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { MeshError } from '../core/errors.ts';

const REDACTED = '[redacted]';

export class PrivateKey {
  readonly #key: KeyObject;
  /** The SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.publicKeyDer = createPublicKey(key).export({ type: 'spki', format: 'der' });
  }

  /** A fresh ECDSA P-256 key. */
  static async generate(): Promise<PrivateKey> {
    const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
    return new PrivateKey(privateKey);
  }

  /** Reads PKCS #8, PKCS #1 or SEC1 text. Throws ERR_CONFIG; the message never holds key material. */
  static parse(pem: string): PrivateKey {
    let key: KeyObject;
    try {
      key = createPrivateKey(pem);
    } catch {
      throw new MeshError('ERR_CONFIG', 'the private key cannot be read: expected unencrypted PEM, RSA or EC');
    }
    if (key.asymmetricKeyType !== 'ec' && key.asymmetricKeyType !== 'rsa') {
      throw new MeshError('ERR_CONFIG', `private key of type ${key.asymmetricKeyType}: expected RSA or EC`);
    }
    return new PrivateKey(key);
  }

  get type(): 'ec' | 'rsa' {
    return this.#key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec';
  }

  /** SHA-256 signature; ECDSA as DER. */
  sign(data: Uint8Array): Buffer {
    return sign('sha256', data, this.#key);
  }

  /** The one way to the key text: for TLS contexts and key files. */
  reveal(): string {
    return this.#key.export({ type: 'pkcs8', format: 'pem' }).toString();
  }

  toJSON(): string {
    return REDACTED;
  }

  toString(): string {
    return REDACTED;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED;
  }
}
