/**
 * Service account tokens of pods, each bound to its pod, as a kubelet projects them. One file for the control plane lists
 * them all; each pod has its own in a file that only it is told of.
 */
import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from './kinds.ts';

export class PodTokens {
  readonly #tokensFile: string;
  readonly #folder: string;
  #last: Promise<unknown> = Promise.resolve();

  /** @param tokensFile the static token file of the control plane */
  constructor(tokensFile: string, folder: string) {
    this.#tokensFile = tokensFile;
    this.#folder = folder;
  }

  /** Makes a token for the pod and answers its file. */
  issue({ metadata, spec }: Pod): Promise<string> {
    const { name, namespace = 'default', uid = '' } = metadata;
    const file = this.#fileOf(uid);
    return this.#alone(async () => {
      const token = randomBytes(32).toString('base64url');
      const user = `system:serviceaccount:${namespace}:${spec?.serviceAccountName ?? 'default'}`;
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeFile(file, token, { mode: 0o600 });
      await appendFile(this.#tokensFile, `${token},${user},${uid},"system:serviceaccounts",${name},${uid}\n`);
      return file;
    });
  }

  /** The pod's tokens prove nothing any more. */
  revoke(uid: string): Promise<void> {
    return this.#alone(async () => {
      const rows = await readFile(this.#tokensFile, 'utf8').catch(() => '');
      const kept = rows.split('\n').filter((row) => !row.endsWith(`,${uid}`));
      await writeFile(`${this.#tokensFile}.new`, kept.join('\n'), { mode: 0o600 });
      await rename(`${this.#tokensFile}.new`, this.#tokensFile);
      await rm(this.#fileOf(uid), { force: true });
    });
  }

  #fileOf(uid: string): string {
    return join(this.#folder, `${uid}.token`);
  }

  /** One change of the file at a time. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work, work);
    this.#last = next.catch(() => undefined);
    return next;
  }
}
