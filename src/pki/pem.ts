/** PEM text (RFC 7468): blocks of one label, in order. */
import { MeshError } from '../core/errors.ts';

/** More certificates than any honest bundle holds. */
const MAX_BLOCKS = 1_000;
const MAX_TEXT_LENGTH = 4 * 1024 * 1024;

/**
 * DER of every block with this label; other text is skipped.
 * Throws ERR_MALFORMED when a block does not end or is not base64, ERR_LIMIT when there is too much.
 */
export function parsePem(text: string, label: string): Buffer[] {
  if (text.length > MAX_TEXT_LENGTH) throw new MeshError('ERR_LIMIT', `PEM text of ${text.length} characters`);
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Buffer[] = [];
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at)) {
    const stop = text.indexOf(end, at);
    if (stop < 0) throw new MeshError('ERR_MALFORMED', `PEM block ${label} has no end`);
    const body = text.slice(at + begin.length, stop).replace(/\s+/g, '');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(body)) throw new MeshError('ERR_MALFORMED', `PEM block ${label} is not base64`);
    if (blocks.length === MAX_BLOCKS) throw new MeshError('ERR_LIMIT', `more than ${MAX_BLOCKS} PEM blocks`);
    blocks.push(Buffer.from(body, 'base64'));
    at = stop + end.length;
  }
  return blocks;
}

/** One block with a line feed at its end. */
export function toPem(der: Uint8Array, label: string): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

export const CERTIFICATE = 'CERTIFICATE';
export const CERTIFICATE_REQUEST = 'CERTIFICATE REQUEST';
export const CRL = 'X509 CRL';
