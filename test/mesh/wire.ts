/** What passes on the bridge of a fabric, by tcpdump. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './apps.ts';
import type { Fabric } from './fabric.ts';

export class Wire implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'culvert-wire-'));
  readonly #file = join(this.#folder, 'packets');
  readonly #tcpdump;

  private constructor(fabric: Fabric) {
    const args = [
      '--pdeathsig',
      'KILL',
      'ip',
      'netns',
      'exec',
      fabric.bridge,
      'tcpdump',
      '-i',
      'br0',
      '-w',
      this.#file,
      '-U',
      '--immediate-mode',
      'tcp',
    ];
    this.#tcpdump = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  static async listen(fabric: Fabric): Promise<Wire> {
    const wire = new Wire(fabric);
    let said = '';
    wire.#tcpdump.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await eventually('tcpdump listens', () => said.includes('listening on'));
    return wire;
  }

  /** Every packet so far. */
  bytes(): Buffer {
    return readFileSync(this.#file);
  }

  /** Whether the text was seen in clear. */
  shows(text: string): boolean {
    return this.bytes().includes(text);
  }

  /** Whether something went to TCP port `port` over IPv4 or IPv6. */
  showsPort(port: number): boolean {
    const packets = this.bytes();
    for (let at = 24; at + 16 <= packets.length; ) {
      const length = packets.readUInt32LE(at + 8);
      const frame = packets.subarray(at + 16, at + 16 + length);
      const isV6 = frame.length > 14 && frame.readUInt16BE(12) === 0x86dd;
      const tcp = isV6 ? 14 + 40 : 14 + ((frame[14] ?? 0) & 0xf) * 4;
      if (frame.length >= tcp + 4 && frame.readUInt16BE(tcp + 2) === port) return true;
      at += 16 + length;
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#tcpdump.once('exit', resolve));
    this.#tcpdump.kill('SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true });
  }
}
