/** Who a session that we open presents itself as, and whether the server at its other end is the one that was meant. */
import { errorMessage, MeshError } from '../../core/errors.ts';
import { checkRevocation, checkServer } from '../../hbone/index.ts';
import type { Identity } from '../../model/identity.ts';
import { PeerRevokedError } from '../../pki/index.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type { EngineHandlers, EngineOptions, TlsCredentials } from '../port.ts';
import { parsePoolKey } from '../session-key.ts';
import type { TlsContextHandle } from './addon.ts';
import type { EngineThreads } from './engine-threads.ts';
import { NativeSession } from './native-session.ts';
import type { OwnerPool } from './owner-pool.ts';
import type { TlsContexts } from './tls-contexts.ts';

export interface PeerVerdictsDeps {
  readonly handlers: Pick<EngineHandlers, 'credentials' | 'peerRevoked'>;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly contexts: TlsContexts;
  readonly peers: PeerWatch;
}

export interface Presented {
  readonly credentials: TlsCredentials;
  readonly context: TlsContextHandle;
}

export class PeerVerdicts {
  readonly #deps: PeerVerdictsDeps;

  constructor(deps: PeerVerdictsDeps) {
    this.#deps = deps;
  }

  /** Rejects with ERR_IDENTITY. */
  async credentials(identity: Identity): Promise<Presented> {
    const { handlers, options, contexts } = this.#deps;
    try {
      const credentials = await handlers.credentials(identity, AbortSignal.timeout(options.connectTimeoutMs));
      return { credentials, context: contexts.get(credentials) };
    } catch (error) {
      throw error instanceof MeshError ? error : new MeshError('ERR_IDENTITY', errorMessage(error), { cause: error });
    }
  }

  /** Accepts the session when its peer is one of `expected`; ends it otherwise, and rejects with why. */
  async judgeServer(session: NativeSession, { rootsPem }: TlsCredentials, expected: readonly string[]): Promise<void> {
    const { handlers, peers } = this.#deps;
    try {
      const chain = await session.handshake;
      checkServer(chain[0] ?? new Uint8Array(), expected);
      const check = { chain, rootsPem, peerIs: 'server', atMs: Date.now() } as const;
      checkRevocation(check, peers.revocations());
      peers.watch(session, check, () => {
        session.isRevoked = true;
      });
      session.accept();
    } catch (error) {
      if (error instanceof PeerRevokedError) handlers.peerRevoked?.('outbound');
      session.fail(error instanceof Error ? error : new Error(errorMessage(error)));
      throw error;
    }
  }

  /** Sees to a session that a thread has begun to dial. Never rejects: the thread tells those who wait. */
  async attend(
    scope: OwnerScope<OwnerPool> | undefined,
    { id, thread, key }: { readonly id: number; readonly thread: number; readonly key: string },
  ): Promise<void> {
    const session = new NativeSession(this.#deps.threads, thread, id);
    if (!scope) {
      session.fail(new MeshError('ERR_POOL_DRAINING', 'pool draining'));
      return;
    }
    scope.pool.add(session);
    const { identity, expectedIdentities } = parsePoolKey(key);
    let presented: Presented;
    try {
      presented = await this.credentials(identity);
    } catch (error) {
      session.reject(error as Error); // credentials() throws errors only
      return;
    }
    this.#deps.threads.useCredentials(thread, id, presented.context);
    await this.judgeServer(session, presented.credentials, expectedIdentities).catch(() => {});
  }
}
