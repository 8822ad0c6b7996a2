/** The tunnel's side of ZDS with nothing behind it: records what it is told and acknowledges. */
import { Netns, SeqpacketSocket } from 'culvert-netns';
import { decodeRequest, encodeAck, encodeHello, type ZdsRequest } from '../../src/ztunnel/inpod/zds-codec.ts';

export class AnsweringTunnel implements AsyncDisposable {
  readonly requests: ZdsRequest[] = [];
  readonly #socket: SeqpacketSocket;
  #running: Promise<void> = Promise.resolve();

  private constructor(socket: SeqpacketSocket) {
    this.#socket = socket;
  }

  /** `onRequest` runs before the answer is sent and may give an error for it. */
  static async connect(
    path: string,
    onRequest: (request: ZdsRequest, netns: Netns | undefined) => Promise<string | undefined> = async () => undefined,
  ): Promise<AnsweringTunnel> {
    const tunnel = new AnsweringTunnel(await SeqpacketSocket.connect(path));
    await tunnel.#socket.send(encodeHello());
    tunnel.#running = tunnel.#serve(onRequest);
    return tunnel;
  }

  told(kind: ZdsRequest['kind'], uid?: string): boolean {
    return this.requests.some(
      (request) => request.kind === kind && (uid === undefined || ('uid' in request && request.uid === uid)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#running;
  }

  async #serve(
    onRequest: (request: ZdsRequest, netns: Netns | undefined) => Promise<string | undefined>,
  ): Promise<void> {
    try {
      for (;;) {
        const message = await this.#socket.receive();
        if (message === undefined) return;
        const [fd] = message.fds;
        using netns = fd === undefined ? undefined : Netns.adopt(fd);
        const request = decodeRequest(message.data);
        const error = await onRequest(request, netns);
        this.requests.push(request);
        await this.#socket.send(encodeAck(error));
      }
    } catch {
      return; // closed by either side
    }
  }
}
