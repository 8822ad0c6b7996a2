/**
 * Opens the byte stream to an endpoint: through HBONE as our own identity, or plain TCP where the endpoint does not speak
 * it. The endpoint's exact identity is expected, and what its service adds to it.
 */
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MeshError } from '../../core/errors.ts';
import type { Engine } from '../../engine/index.ts';
import type { Identity } from '../../model/identity.ts';
import type { Cluster, WaypointEndpoint } from '../../model/l7/index.ts';
import { INBOUND_HBONE_PORT } from '../../model/ports.ts';

export interface DialTarget {
  readonly endpoint: WaypointEndpoint;
  readonly cluster: Pick<Cluster, 'subjectAltNames'>;
  readonly port: number;
  readonly connectTimeoutMs: number;
}

/** The pool of sessions that the waypoint opens; drained after everything that needs it. */
export const UPSTREAM_OWNER = 'upstream';

export interface DialerDeps {
  readonly engine: Pick<Engine, 'originate'>;
  readonly identity: Identity;
  /** Finds the addresses of a host name. */
  readonly resolve: (hostname: string) => Promise<readonly string[]>;
}

export class UpstreamDialer {
  readonly #deps: DialerDeps;

  constructor(deps: DialerDeps) {
    this.#deps = deps;
  }

  /** The caller owns the stream. Rejects with a MeshError (ERR_DIAL, ERR_DIAL_TIMEOUT, ERR_TLS, ERR_HBONE_STATUS, ...). */
  async dial({ endpoint, cluster, port, connectTimeoutMs }: DialTarget, signal?: AbortSignal): Promise<Duplex> {
    const timeout = AbortSignal.timeout(connectTimeoutMs);
    const stop = signal ? AbortSignal.any([timeout, signal]) : timeout;
    const ip = endpoint.addresses[0] ?? (await this.#deps.resolve(endpoint.hostname))[0];
    if (ip === undefined) throw new MeshError('ERR_DIAL', `no address of ${endpoint.hostname || endpoint.uid}`);
    if (!endpoint.hbone) return dialPlain(ip, port, stop);
    const { engine, identity } = this.#deps;
    if (!engine.originate) throw new MeshError('ERR_UNSUPPORTED', 'this engine opens no tunnels of its own');
    const opening = engine.originate(
      {
        owner: UPSTREAM_OWNER,
        session: {
          identity,
          expectedIdentities: [endpoint.identity, ...cluster.subjectAltNames],
          peer: { ip, port: INBOUND_HBONE_PORT },
          sourceIp: '',
        },
        connect: { authority: ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`, headers: CONNECT_HEADERS },
      },
      stop,
    );
    return await unlessAborted(opening, stop);
  }
}

/** Tells gateways of other networks that this traffic has passed its waypoint. */
const CONNECT_HEADERS = { 'x-istio-source': 'waypoint' };

/** A session that is being dialled is shared by all who wait for it and goes on; who gives up does not wait for that. */
function unlessAborted(opening: Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const onAbort = (): void => {
      isOver = true;
      reject(new MeshError('ERR_DIAL_TIMEOUT', 'no tunnel to the endpoint in time'));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    opening
      .then((stream) => {
        if (isOver) stream.destroy();
        else resolve(stream);
      }, reject)
      .finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}

function dialPlain(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, keepAlive: true, allowHalfOpen: true });
    const fail = (cause: Error): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(new MeshError('ERR_DIAL', cause.message, { cause }));
    };
    const onAbort = (): void => {
      socket.destroy();
      reject(new MeshError('ERR_DIAL_TIMEOUT', `no connection to ${host}:${port} in time`));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', fail);
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', fail);
      socket.on('error', () => {}); // seen by its close
      resolve(socket);
    });
    if (signal.aborted) onAbort();
  });
}
