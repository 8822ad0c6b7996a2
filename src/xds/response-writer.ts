/**
 * Writes the responses of one session for as long as its transport takes more. A large one waits for its turn among all
 * subscribers, and holds its permit until the subscriber has answered: until then it may be in a buffer of ours.
 *
 * `push` never throws: it runs inside commits of the store and in the turns of other subscribers.
 */
import { errorMessage } from '../core/errors.ts';
import type { DeltaSession } from './delta-session.ts';
import { encodeDeltaResponse } from './message-codec.ts';
import { TransferBudget } from './transfer-budget.ts';

export interface ResponseTransport {
  readonly writable: boolean;
  /** False: wait for `drained`. */
  write(bytes: Buffer): boolean;
}

export interface ResponseWriterDeps {
  readonly transport: ResponseTransport;
  readonly session: DeltaSession;
  readonly budget: TransferBudget;
  readonly onPush: (typeUrl: string, bytes: number) => void;
  readonly onFailure: (reason: string) => void;
}

export class ResponseWriter implements Disposable {
  readonly #deps: ResponseWriterDeps;
  /** `full`: the transport says when it takes more. */
  #state: 'idle' | 'full' | 'waiting' | 'closed' = 'idle';
  /** Of a large response: its place in the queue, then its permit. */
  #turn: Disposable | undefined;

  constructor(deps: ResponseWriterDeps) {
    this.#deps = deps;
  }

  /** Something may be ready. */
  push(): void {
    try {
      this.#push();
    } catch (error) {
      this.#deps.onFailure(errorMessage(error));
    }
  }

  /** The transport takes more. */
  drained(): void {
    if (this.#state !== 'full') return;
    this.#state = 'idle';
    this.push();
  }

  /** The subscriber has answered a response. */
  answered(): void {
    if (this.#state === 'waiting') return;
    this.#turn?.[Symbol.dispose]();
    this.#turn = undefined;
  }

  [Symbol.dispose](): void {
    this.#state = 'closed';
    this.#turn?.[Symbol.dispose]();
  }

  #push(): void {
    const { transport, session, budget } = this.#deps;
    while (this.#state === 'idle' && transport.writable) {
      const size = session.nextSize();
      if (size === 0) return;
      if (TransferBudget.isSmall(size)) {
        this.#write();
        continue;
      }
      this.#state = 'waiting';
      let permitted = false;
      const place = budget.ask(size, (permit) => {
        permitted = true;
        this.#transfer(permit);
      });
      if (!permitted) this.#turn = place;
    }
  }

  #transfer(permit: Disposable): void {
    if (this.#state !== 'waiting') {
      permit[Symbol.dispose]();
      return;
    }
    this.#turn = permit;
    this.#state = 'idle';
    try {
      this.#write();
      this.#push();
    } catch (error) {
      permit[Symbol.dispose]();
      this.#deps.onFailure(errorMessage(error));
    }
  }

  #write(): void {
    const { transport, session, onPush } = this.#deps;
    const response = session.next();
    if (!response) return;
    const bytes = encodeDeltaResponse(response);
    onPush(response.typeUrl, bytes.length);
    if (!transport.write(bytes)) this.#state = 'full';
  }
}
