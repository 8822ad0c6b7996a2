/**
 * Finds out by its first bytes what a client speaks. A client that says nothing within a short time waits for its server:
 * such protocols are bytes to us.
 */
import type { Duplex } from 'node:stream';

export type Detected = 'HTTP1' | 'HTTP2' | 'TLS' | 'BYTES';

const HTTP2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** Longer than any registered method. */
const MAX_METHOD = 20;
/** A client that speaks first does so with its first packet; one that waits for its server is not held up for long. */
export const SERVER_FIRST_MS = 100;

/** Undefined: more bytes are needed. */
export function detectProtocol(bytes: Uint8Array): Detected | undefined {
  if (bytes[0] === 0x16) {
    if (bytes.length < 3) return undefined;
    return bytes[1] === 3 ? 'TLS' : 'BYTES';
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 32)).toString('latin1');
  if (HTTP2_PREFACE.startsWith(text.slice(0, HTTP2_PREFACE.length))) {
    return text.length >= HTTP2_PREFACE.length ? 'HTTP2' : undefined;
  }
  const space = text.indexOf(' ');
  const method = space < 0 ? text : text.slice(0, space);
  if (!/^[A-Z][A-Z-]*$/.test(method) || method.length > MAX_METHOD) return 'BYTES';
  return space < 0 ? undefined : 'HTTP1';
}

/** Reads as much as is needed and puts it back. Resolves with `BYTES` for a client that is silent or gone. */
export function sniff(stream: Duplex, silenceMs: number): Promise<Detected> {
  return new Promise((resolve) => {
    let head: Buffer = Buffer.alloc(0);
    const settle = (detected: Detected): void => {
      clearTimeout(timer);
      stream.off('readable', onReadable);
      stream.off('end', onEnd);
      stream.off('close', onEnd);
      if (head.length > 0) stream.unshift(head);
      resolve(detected);
    };
    const onEnd = (): void => settle('BYTES');
    const onReadable = (): void => {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const detected = detectProtocol(head);
      if (detected) settle(detected);
    };
    const timer = setTimeout(() => settle(head.length === 0 ? 'BYTES' : (detectProtocol(head) ?? 'BYTES')), silenceMs);
    stream.on('readable', onReadable);
    stream.once('end', onEnd);
    stream.once('close', onEnd);
  });
}
