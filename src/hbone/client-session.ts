/**
 * Opens the client side of an HBONE session: TLS over a given byte stream, then HTTP/2.
 * No server name is sent and no host name is checked; the server is who its SPIFFE identity says.
 */
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { errorMessage, MeshError } from '../core/errors.ts';
import { clientSettings, FLOOD_GUARDS, HBONE_ALPN, type SessionLimits } from './parameters.ts';
import { checkServer } from './peer-check.ts';
import { watchLiveness } from './session-liveness.ts';

export interface ClientSessionOptions {
  readonly context: SecureContext;
  /** SPIFFE ids of which the server must present one. */
  readonly expectedIdentities: readonly string[];
  readonly limits: SessionLimits;
  readonly handshakeTimeoutMs: number;
}

/** How long a peer may take to end its side after ours. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface ClientSession {
  readonly session: ClientHttp2Session;
  readonly tls: TLSSocket;
}

/**
 * Takes ownership of `transport`: it is destroyed when the handshake fails, and with the session.
 * Rejects with ERR_TLS, ERR_PEER_IDENTITY or ERR_HTTP2.
 */
export async function openClientSession(transport: Duplex, options: ClientSessionOptions): Promise<ClientSession> {
  transport.allowHalfOpen = false; // an HTTP/2 connection has no half: the server's FIN ends it, its streams included
  const tls = await handshake(transport, options);
  const session = connectHttp2('https://hbone.invalid', {
    createConnection: () => tls,
    settings: clientSettings(options.limits),
    ...FLOOD_GUARDS,
  });
  await settingsReceived(session, options.handshakeTimeoutMs);
  tls.once('finish', () => {
    // our end is said; a peer that vanished never says its own
    const timer = setTimeout(() => transport.destroy(), CLOSE_TIMEOUT_MS);
    transport.once('close', () => clearTimeout(timer));
  });
  // streams report their own failure; the session's is seen by its close
  session.on('error', () => {});
  session.setLocalWindowSize(options.limits.connectionWindowBytes);
  watchLiveness(session);
  return { session, tls };
}

/**
 * The peer's SETTINGS say how many streams it takes. They also show that it has accepted us: in TLS 1.3 a client's
 * handshake is complete before its certificate was looked at.
 */
function settingsReceived(session: ClientHttp2Session, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (words: string, cause?: Error) => {
      clearTimeout(timer);
      session.destroy();
      reject(new MeshError('ERR_HTTP2', `http2 handshake failed: ${words}`, { cause }));
    };
    const onError = (cause: Error) => fail(errorMessage(cause), cause);
    const onClose = () => fail('the peer closed the connection');
    const timer = setTimeout(() => fail(`no SETTINGS in ${timeoutMs} ms`), timeoutMs);
    session.once('error', onError);
    session.once('close', onClose);
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      session.off('error', onError);
      session.off('close', onClose);
      resolve();
    });
  });
}

function handshake(transport: Duplex, options: ClientSessionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const tls = connectTls({
      socket: transport,
      secureContext: options.context,
      ALPNProtocols: [HBONE_ALPN],
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => {
        try {
          checkServer(certificate.raw, options.expectedIdentities);
          return undefined;
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error));
        }
      },
    });
    const fail = (error: Error) => {
      clearTimeout(timer);
      tls.destroy();
      transport.destroy();
      reject(
        error instanceof MeshError ? error : new MeshError('ERR_TLS', `tls error: ${error.message}`, { cause: error }),
      );
    };
    const timer = setTimeout(
      () => fail(new Error(`no TLS handshake in ${options.handshakeTimeoutMs} ms`)),
      options.handshakeTimeoutMs,
    );
    const onClose = () => fail(new Error('the peer closed the connection during the handshake'));
    tls.once('error', fail);
    tls.once('close', onClose);
    tls.once('secureConnect', () => {
      clearTimeout(timer);
      tls.off('error', fail);
      tls.off('close', onClose);
      if (tls.alpnProtocol === HBONE_ALPN) resolve(tls);
      else fail(new Error('the peer does not speak HTTP/2'));
    });
  });
}
