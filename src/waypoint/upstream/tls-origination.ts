/** TLS towards an endpoint, inside the tunnel or over plain TCP. Source: Istio ClientTLSSettings, RFC 9110 section 4.3.4. */
import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect, type PeerCertificate, rootCertificates, type TLSSocket } from 'node:tls';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { UpstreamTls } from '../../model/l7/index.ts';

export interface TlsTarget {
  readonly tls: UpstreamTls;
  /** Asked for when the policy names no server. */
  readonly hostname: string;
  readonly alpn: 'http/1.1' | 'h2' | undefined;
}

/** Takes the stream over. Rejects with ERR_TLS; the stream is then destroyed. */
export function originateTls(
  stream: Duplex,
  { tls, hostname, alpn }: TlsTarget,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const servername = tls.sni || hostname;
  const names = tls.subjectAltNames.length > 0 ? tls.subjectAltNames : [servername];
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => {
      signal.removeEventListener('abort', onAbort);
      stream.destroy();
      reject(new MeshError('ERR_TLS', `TLS to ${servername}: ${errorMessage(cause)}`, { cause }));
    };
    const onAbort = (): void => fail(new Error('no handshake in time'));
    let socket: TLSSocket;
    try {
      socket = connect({
        socket: stream,
        servername: servername.startsWith('*') ? '' : servername,
        ca: tls.caCertificates === '' ? [...rootCertificates] : tls.caCertificates,
        rejectUnauthorized: !tls.insecureSkipVerify,
        checkServerIdentity: (_name, certificate) => (tls.insecureSkipVerify ? undefined : isOneOf(names, certificate)),
        ...(alpn ? { ALPNProtocols: [alpn] } : {}),
        ...(tls.mode === 'MUTUAL' ? { cert: tls.clientCertificate, key: tls.privateKey } : {}),
      });
    } catch (error) {
      fail(error); // certificates that are none
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', fail);
      socket.on('error', () => {}); // seen by its close
      resolve(socket);
    });
    if (signal.aborted) onAbort();
  });
}

/** URIs are compared as they are, names as TLS does. */
function isOneOf(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  const uris = (certificate.subjectaltname ?? '').split(', ').filter((one) => one.startsWith('URI:'));
  const errors = names.map((name) =>
    name.includes('://')
      ? uris.includes(`URI:${name}`)
        ? undefined
        : new Error(`no URI ${name}`)
      : checkServerIdentity(name, certificate),
  );
  return errors.some((error) => error === undefined) ? undefined : (errors[0] ?? new Error('no name to verify'));
}
