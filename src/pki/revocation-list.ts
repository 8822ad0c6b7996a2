/**
 * Certificate revocation lists from a file.
 *
 * Rules: an empty file revokes nothing; an expired list is still used; a certificate whose issuer has no list is fine;
 * a list counts for certificates of its issuer only when that issuer's key signed it.
 * Source: RFC 5280 section 5; rules as in Istio's tunnel.
 */
import { MeshError } from '../core/errors.ts';
import { type Certificate, parseSigned } from './certificate.ts';
import { expectTag, parseChildren, parseUnsigned, TAG } from './der.ts';
import { CRL, parsePem } from './pem.ts';
import { isSignedBy } from './signature.ts';

const MAX_FILE_BYTES = 16 * 1024 * 1024;

interface RevocationList {
  readonly der: Uint8Array;
  readonly issuer: Buffer;
  readonly serials: ReadonlySet<bigint>;
}

export class RevocationLists {
  readonly #lists: readonly RevocationList[];
  /** Issuer keys that a list was found to be signed by, and not: signatures are checked once. */
  readonly #checked = new WeakMap<RevocationList, Map<string, boolean>>();

  private constructor(lists: readonly RevocationList[]) {
    this.#lists = lists;
  }

  static readonly none = new RevocationLists([]);

  /** Reads PEM (any number of lists) or one DER list; nothing at all is no list. Throws ERR_MALFORMED, ERR_LIMIT. */
  static parse(bytes: Uint8Array): RevocationLists {
    if (bytes.length > MAX_FILE_BYTES) throw new MeshError('ERR_LIMIT', `revocation list of ${bytes.length} bytes`);
    if (bytes[0] === TAG.sequence) return new RevocationLists([parseList(bytes)]);
    const text = Buffer.from(bytes).toString('latin1');
    const blocks = parsePem(text, CRL);
    if (blocks.length === 0 && text.trim() !== '') {
      throw new MeshError('ERR_MALFORMED', 'the revocation list file holds no PEM block X509 CRL');
    }
    return new RevocationLists(blocks.map(parseList));
  }

  get size(): number {
    return this.#lists.length;
  }

  /** Whether `issuer` has revoked `certificate`. */
  isRevoked(certificate: Certificate, issuer: Pick<Certificate, 'publicKeyDer'>): boolean {
    return this.#lists.some(
      (list) =>
        list.serials.has(certificate.serial) &&
        list.issuer.equals(certificate.issuer) &&
        this.#isBy(list, issuer.publicKeyDer),
    );
  }

  #isBy(list: RevocationList, publicKeyDer: Uint8Array): boolean {
    const answers = this.#checked.get(list) ?? new Map<string, boolean>();
    this.#checked.set(list, answers);
    const key = Buffer.from(publicKeyDer).toString('base64');
    const known = answers.get(key);
    if (known !== undefined) return known;
    const answer = isSignedBy(list.der, publicKeyDer);
    if (answers.size < 100) answers.set(key, answer);
    return answer;
  }
}

/** TBSCertList: version?, algorithm, issuer, thisUpdate, nextUpdate?, revokedCertificates?, extensions?. */
function parseList(der: Uint8Array): RevocationList {
  const fields = parseChildren(parseSigned(der).body);
  const start = fields[0]?.tag === TAG.integer ? 1 : 0;
  const issuer = expectTag(fields[start + 1], TAG.sequence, 'issuer of the revocation list');
  // Times stand before the entries; the entries are the only plain SEQUENCE behind the issuer.
  const entries = fields.slice(start + 2).find((field) => field.tag === TAG.sequence);
  const serials = (entries ? parseChildren(entries) : []).map((entry) =>
    parseUnsigned(parseChildren(expectTag(entry, TAG.sequence, 'revoked certificate'))[0]),
  );
  return { der, issuer: Buffer.from(issuer.encoding), serials: new Set(serials) };
}
