/** Keeps the chain of every session's peer, so that a revocation list that changes ends the sessions it concerns. */
import { checkRevocation, type RevocationCheck } from '../hbone/index.ts';
import type { RevocationLists } from '../pki/index.ts';

/** What is watched: any session that tells its close. */
export interface WatchedSession {
  readonly destroyed: boolean;
  once(event: 'close', listener: () => void): unknown;
  destroy(): void;
}

export class PeerWatch {
  /** The lists in force now. */
  readonly revocations: () => RevocationLists;
  readonly #sessions = new Map<WatchedSession, { readonly check: RevocationCheck; readonly onRevoked: () => void }>();

  constructor(revocations: () => RevocationLists) {
    this.revocations = revocations;
  }

  /** Until the session closes. `onRevoked` is called before the session is destroyed. */
  watch(session: WatchedSession, check: RevocationCheck, onRevoked: () => void = () => {}): void {
    if (session.destroyed) return; // it will not tell of its end any more
    this.#sessions.set(session, { check, onRevoked });
    session.once('close', () => this.#sessions.delete(session));
  }

  /** Ends every session whose peer has been revoked. */
  recheck(): void {
    for (const [session, { check, onRevoked }] of [...this.#sessions]) {
      try {
        checkRevocation(check, this.revocations());
      } catch {
        onRevoked();
        session.destroy();
      }
    }
  }
}
