/** DNS over TCP: messages with a length of two bytes in front. Source: RFC 1035 section 4.2.2. */
export class TcpMessages {
  #pending: Buffer = Buffer.alloc(0);

  /** Bytes that wait for the rest of their message; never more than one message of 64 KiB. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Complete messages, in order. */
  push(chunk: Uint8Array): Buffer[] {
    this.#pending = this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    const messages: Buffer[] = [];
    while (this.#pending.length >= 2) {
      const end = 2 + this.#pending.readUInt16BE(0);
      if (this.#pending.length < end) break;
      messages.push(this.#pending.subarray(2, end));
      this.#pending = this.#pending.subarray(end);
    }
    return messages;
  }

  static frame(message: Uint8Array): Buffer {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(message.length, 0);
    return Buffer.concat([length, message]);
  }
}
