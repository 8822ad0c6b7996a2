/** Certificates in Secrets, as Kubernetes (`kubernetes.io/tls`) and Istio (generic) write them. */
import type { Secret } from '../../../resources.ts';
import type { Credentials } from './traffic-policy.ts';

export function readCredentials(secret: Secret): Credentials {
  const { data = {}, stringData = {} } = secret as {
    readonly data?: Readonly<Record<string, string>>;
    readonly stringData?: Readonly<Record<string, string>>;
  };
  const value = (...names: readonly string[]): string => {
    for (const name of names) {
      const encoded = data[name];
      if (encoded !== undefined) return Buffer.from(encoded, 'base64').toString('utf8');
      const plain = stringData[name];
      if (plain !== undefined) return plain;
    }
    return '';
  };
  return {
    certificate: value('tls.crt', 'cert'),
    privateKey: value('tls.key', 'key'),
    caCertificates: value('ca.crt', 'cacert'),
  };
}
