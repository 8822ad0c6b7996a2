/** Files replaced by rename: a reader sees the old or the new one, and a crash leaves no half of either. */
import { chmod, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Writes `content` with exactly `mode`. The folder is made when absent. */
export async function writeFileAtomic(path: string, content: Uint8Array | string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.tmp.${process.pid}`;
  try {
    const file = await open(temporary, 'w', mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await chmod(temporary, mode); // whatever the umask was
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what a killed process left of such a write. */
export async function removeTemporaries(path: string): Promise<void> {
  const prefix = `${basename(path)}.tmp.`;
  for (const name of await readdir(dirname(path)).catch(() => [])) {
    if (name.startsWith(prefix)) await rm(join(dirname(path), name), { force: true });
  }
}
