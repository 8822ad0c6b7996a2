/** A tunnel as the agent knows it: ZDS client in this process, listeners in the pod by a process of their own. */
import { fromBinary } from '@bufbuild/protobuf';
import { closeFd, SeqpacketSocket } from 'culvert-netns';
import { WorkloadRequestSchema } from '../../src/gen/zds_pb.js';
import { TestTunnel } from './test-tunnel.ts';

const HELLO = Buffer.from('0801', 'hex');
const ACK = Buffer.from('0a00', 'hex');

export class ZdsTunnel implements AsyncDisposable {
  /** As `add <uid>`, in the order they came. */
  readonly requests: string[] = [];
  readonly #socket: SeqpacketSocket;
  readonly #tunnels: TestTunnel[] = [];
  readonly #running: Promise<void>;

  private constructor(socket: SeqpacketSocket) {
    this.#socket = socket;
    this.#running = this.#answerAll();
  }

  static async connect(path: string): Promise<ZdsTunnel> {
    const socket = await SeqpacketSocket.connect(path);
    await socket.send(HELLO);
    return new ZdsTunnel(socket);
  }

  /** Kills the listeners; the connection to the agent stays. */
  async killListeners(): Promise<void> {
    for (const tunnel of this.#tunnels) await tunnel.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#socket[Symbol.asyncDispose]();
    await this.#running;
    await this.killListeners();
  }

  async #answerAll(): Promise<void> {
    for (;;) {
      const message = await this.#socket.receive().catch(() => undefined);
      if (message === undefined) return;
      const { payload } = fromBinary(WorkloadRequestSchema, message.data);
      const uid = payload.value !== undefined && 'uid' in payload.value ? payload.value.uid : '';
      for (const fd of message.fds) {
        this.#tunnels.push(await TestTunnel.start(`/proc/${process.pid}/fd/${fd}`));
        closeFd(fd);
      }
      this.requests.push(`${payload.case} ${uid}`.trim());
      await this.#socket.send(ACK).catch(() => {});
    }
  }
}
