/**
 * Bearer tokens from a file, for clusters without an API server that could review them.
 *
 * Format: Kubernetes' static token file, `token,user,uid,"groups"`, where the user is
 * `system:serviceaccount:<namespace>:<account>`; two more columns of ours bind the token to a pod: pod name, pod uid.
 * Empty lines and lines that start with `#` are skipped, lines that cannot be used are reported once and skipped.
 * The file is read again when it changes; while it is missing nobody is authenticated.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { errnoName, errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Authenticator, Caller, CallerCredentials } from '../../model/caller.ts';

export type TokenOwner = Pick<Caller, 'namespace' | 'serviceAccount' | 'podName' | 'podUid'>;

export interface StaticTokensOptions {
  readonly file: string;
  readonly trustDomain: string;
  /** Callers that name another cluster are refused. */
  readonly clusterId: string;
  readonly log: Logger;
}

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_TOKEN_LENGTH = 16_384;
const USER = /^system:serviceaccount:([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?):([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$/;

export class StaticTokens implements Authenticator {
  readonly #options: StaticTokensOptions;
  #owners: ReadonlyMap<string, TokenOwner> = new Map();
  #seen = '';

  constructor(options: StaticTokensOptions) {
    this.#options = options;
  }

  async authenticate({ token, clusterId }: CallerCredentials): Promise<Caller | undefined> {
    const own = this.#options.clusterId;
    if (token === undefined || token.length > MAX_TOKEN_LENGTH || (clusterId !== '' && clusterId !== own))
      return undefined;
    await this.#refresh();
    // Looked up by digest: how long it takes says nothing about the tokens there are.
    const owner = this.#owners.get(digest(token));
    return owner && { ...owner, trustDomain: this.#options.trustDomain, clusterId: own };
  }

  async #refresh(): Promise<void> {
    const { file, log } = this.#options;
    try {
      const { mtimeNs, size, ino } = await stat(file, { bigint: true });
      const seen = `${mtimeNs} ${size} ${ino}`;
      if (seen === this.#seen) return;
      if (size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`);
      const { owners, problems } = parseTokenFile(await readFile(file, 'utf8'));
      this.#owners = owners;
      this.#seen = seen;
      for (const { line, reason } of problems) log.warn('token refused', { file, line, reason });
    } catch (error) {
      if (this.#seen !== 'unreadable') log.warn('token file not read', { file, error: errorMessage(error) });
      this.#seen = errnoName(error) === 'ENOENT' ? '' : 'unreadable';
      this.#owners = new Map();
    }
  }
}

export interface TokenFile {
  /** By digest of the token. */
  readonly owners: ReadonlyMap<string, TokenOwner>;
  readonly problems: readonly { readonly line: number; readonly reason: string }[];
}

/** Total: lines that cannot be used become problems. A token given twice belongs to nobody. */
export function parseTokenFile(text: string): TokenFile {
  const owners = new Map<string, TokenOwner>();
  const twice = new Set<string>();
  const problems: { line: number; reason: string }[] = [];
  for (const [index, row] of text.split(/\r?\n/).entries()) {
    if (row.trim() === '' || row.startsWith('#')) continue;
    const [token = '', user = '', , , podName = '', podUid = ''] = splitRow(row);
    const found = USER.exec(user);
    const [, namespace, , serviceAccount] = found ?? [];
    if (token === '' || namespace === undefined || serviceAccount === undefined) {
      const reason =
        token === '' ? 'the token is empty' : 'the user is not system:serviceaccount:<namespace>:<account>';
      problems.push({ line: index + 1, reason });
      continue;
    }
    const key = digest(token);
    if (owners.has(key)) {
      twice.add(key);
      problems.push({ line: index + 1, reason: 'the token is given twice' });
    }
    owners.set(key, { namespace, serviceAccount, podName: podName || undefined, podUid: podUid || undefined });
  }
  for (const key of twice) owners.delete(key);
  return { owners, problems };
}

/** Columns between commas; a quoted one may hold commas, and a doubled quote stands for one (RFC 4180). */
function splitRow(row: string): string[] {
  const columns: string[] = [];
  let column = '';
  let quoted = false;
  for (let at = 0; at < row.length; at += 1) {
    const char = row[at];
    if (quoted && char === '"' && row[at + 1] === '"') {
      column += '"';
      at += 1;
    } else if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      columns.push(column.trim());
      column = '';
    } else column += char;
  }
  return [...columns, column.trim()];
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
