/** Packets of a device, by tcpdump, until stopped; the answer is the capture file in base64. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const CAPTURE_BYTES_MAX = 128 * 1024 * 1024;

export class Capture {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'close');
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
      if (this.#bytes <= CAPTURE_BYTES_MAX) this.#chunks.push(chunk);
    });
  }

  /** `any` is every device of the node. Resolves when packets are seen. Rejects with what tcpdump says when it cannot. */
  static async start(device: string, filter: string): Promise<Capture> {
    const link = device === 'any' ? ['-y', 'LINUX_SLL'] : [];
    const args = [
      '-i',
      device,
      ...link,
      '-n',
      '-U',
      '--immediate-mode',
      '-s',
      '0',
      '-B',
      '16384',
      '-Z',
      'root',
      '-w',
      '-',
      filter,
    ];
    const child = spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const capture = new Capture(child);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', () => reject(new Error(`tcpdump ended: ${said.trim()}`)));
      child.stderr.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4_096);
        if (said.includes('listening on')) resolve();
      });
    });
    return capture;
  }

  async stop(): Promise<{ readonly pcap: string; readonly truncated: boolean }> {
    this.#child.kill('SIGINT');
    await this.#ended;
    return { pcap: Buffer.concat(this.#chunks).toString('base64'), truncated: this.#bytes > CAPTURE_BYTES_MAX };
  }
}
