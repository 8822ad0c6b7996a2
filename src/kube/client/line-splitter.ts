/** Lines out of bytes, however they were cut. A line that grows past the bound is refused. */
import { MeshError } from '../../core/errors.ts';

const MAX_LINE_BYTES = 16 * 1024 * 1024;
const LINE_FEED = 0x0a;

export class LineSplitter {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** The lines that end in `chunk`, without their line feeds; empty ones are left out. Throws ERR_LIMIT. */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      this.#keep(chunk.subarray(from, at));
      const line = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.#length = 0;
      if (line !== '') lines.push(line);
      from = at + 1;
    }
    this.#keep(chunk.subarray(from));
    return lines;
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#length += part.length;
    if (this.#length > MAX_LINE_BYTES)
      throw new MeshError('ERR_LIMIT', `a line is longer than ${MAX_LINE_BYTES} bytes`);
    this.#parts.push(part);
  }
}
