/** What the engine's threads tell, in the words of this folder. */
import type { IpPort } from '../../model/address.ts';

export interface StreamEnded {
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly durationMs: number;
  /** One of END_CAUSE, and its number: an errno, a status, a CLOSE_CAUSE. */
  readonly cause: number;
  readonly detail: number;
  /** Of the dial of a session that could not be opened. */
  readonly errno: number;
  readonly reason: string;
  /** Of the answer to a CONNECT of ours. */
  readonly headers: Readonly<Record<string, string>> | undefined;
  /** The session it was on or waited for, as long as that is known. */
  readonly session: SessionEvents | undefined;
}

export interface SessionEvents {
  readonly isRevoked: boolean;
  /** Why it could not be opened, in the words of the port. */
  failure(cause: number, reason: string): Error;
  onHandshake(chain: readonly Buffer[]): void;
  /** @param cause one of CLOSE_CAUSE */
  onClosed(reason: string, cause: number): void;
  onSettings(): void;
  onStream(stream: IncomingStream, taken: TakenDecision | undefined): void;
}

/** A CONNECT, or whatever else a peer asked, that waits for its answer. */
export interface IncomingStream {
  readonly id: number;
  readonly method: string;
  readonly authority: string;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
}

/** A connection that a thread accepted and that waits for its decision. */
export interface AcceptedConnection {
  readonly id: number;
  readonly thread: number;
  readonly remote: IpPort;
  readonly local: IpPort;
  readonly originalDestination: IpPort | undefined;
}

export type OnAccepted = (accepted: AcceptedConnection, taken: TakenDecision | undefined) => void;

/** A remembered decision that a thread has given by itself. */
export interface TakenDecision {
  readonly token: unknown;
  readonly isCurrent: boolean;
}

export interface ThreadEvents {
  onProgress(id: number, received: number, sent: number): void;
  /** A thread opens a session to a peer for those who wait for it; it needs a certificate and a verdict. */
  onSessionWanted(wanted: {
    readonly id: number;
    readonly thread: number;
    readonly owner: number;
    readonly key: string;
  }): void;
}
