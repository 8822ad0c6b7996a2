/**
 * The tunnel's side of one ZDS connection as a state machine: messages in, steps out, no socket.
 *
 * Invariants
 *  - Keep and SnapshotSent are legal once, before the snapshot is over; Add and Del always.
 *  - Add comes with exactly one descriptor, everything else with none.
 *  - After a broken rule the session is over: the Ack carries the reason and the connection is made anew.
 * Source: Istio in-pod mode, ZDS.
 */
import { errorMessage } from '../../core/errors.ts';
import type { PodInfo } from '../state/workload-index.ts';
import { decodeRequest, type ZdsRequest } from './zds-codec.ts';

export type ZdsStep =
  | { readonly kind: 'add'; readonly uid: string; readonly info: PodInfo }
  | { readonly kind: 'del'; readonly uid: string }
  /** The snapshot is complete: pods that are not among `uids` are gone. */
  | { readonly kind: 'retain'; readonly uids: ReadonlySet<string> }
  | { readonly kind: 'keep'; readonly uid: string }
  /** Answer with `error`, then disconnect. */
  | { readonly kind: 'refuse'; readonly error: string };

/** Pods of one node; Kubernetes allows some hundreds. */
const SNAPSHOT_MAX = 10_000;
const UID_MAX = 253;

export class ZdsSession {
  readonly #snapshot = new Set<string>();
  #phase: 'snapshot' | 'live' | 'over' = 'snapshot';

  get hasSnapshot(): boolean {
    return this.#phase === 'live';
  }

  /** @param fdCount descriptors that came with the packet */
  receive(data: Uint8Array, fdCount: number): ZdsStep {
    const step = this.#step(data, fdCount);
    if (step.kind === 'refuse') this.#phase = 'over';
    return step;
  }

  #step(data: Uint8Array, fdCount: number): ZdsStep {
    if (this.#phase === 'over') return refuse('protocol error: the session is over');
    let request: ZdsRequest;
    try {
      request = decodeRequest(data);
    } catch (error) {
      return refuse(`failure to read message : ${errorMessage(error)}`);
    }
    const expectedFds = request.kind === 'add' ? 1 : 0;
    if (fdCount !== expectedFds) {
      return refuse(
        `failure to read message : ${request.kind} with ${fdCount} file descriptors, expected ${expectedFds}`,
      );
    }
    return request.kind === 'snapshot-sent' ? this.#endSnapshot() : this.#forPod(request);
  }

  #endSnapshot(): ZdsStep {
    if (this.#phase === 'live') return refuse('protocol error: a second snapshot sent');
    this.#phase = 'live';
    const uids = new Set(this.#snapshot);
    this.#snapshot.clear();
    return { kind: 'retain', uids };
  }

  #forPod(request: Exclude<ZdsRequest, { kind: 'snapshot-sent' }>): ZdsStep {
    const { uid } = request;
    if (uid === '' || uid.length > UID_MAX) return refuse('failure to read message : invalid workload uid');
    if (request.kind === 'del') {
      this.#snapshot.delete(uid);
      return { kind: 'del', uid };
    }
    if (request.kind === 'keep' && this.#phase === 'live') return refuse('protocol error: keep after the snapshot');
    if (request.kind === 'add' && !request.info) return refuse('protocol error: add without workload info');
    if (this.#phase === 'snapshot') {
      if (this.#snapshot.size >= SNAPSHOT_MAX) return refuse('protocol error: the snapshot is too large');
      this.#snapshot.add(uid);
    }
    if (request.kind === 'keep') return { kind: 'keep', uid };
    return request.info
      ? { kind: 'add', uid, info: request.info }
      : refuse('protocol error: add without workload info');
  }
}

function refuse(error: string): ZdsStep {
  return { kind: 'refuse', error };
}
