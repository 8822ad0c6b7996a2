/**
 * A note of every run of an iptables program. The programs are covered in a mount namespace of the recorded process, so
 * that no one else on the machine is touched; each run is noted and then done as asked.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** All names of Debian's package lead to one of these. */
const PROGRAMS = ['/usr/sbin/iptables-nft', '/usr/sbin/iptables-legacy'];

export class IptablesRecord {
  /** Stands before the command of the process to record. */
  readonly prefix: readonly string[];
  readonly #file: string;

  /** @param folder is made here and removed by the caller */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#file = join(folder, 'runs');
    const covers = PROGRAMS.map((program) => realpathSync(program)).map((program) => {
      const real = join(folder, `${basename(program)}.real`);
      const cover = join(folder, basename(program));
      copyFileSync(program, real);
      const script = `#!/bin/bash\necho "$0 $*" >>${this.#file}\nexec -a "$(basename "$0")" ${real} "$@"\n`;
      writeFileSync(cover, script, { mode: 0o755 });
      return `mount --bind ${cover} ${program}`;
    });
    this.prefix = ['unshare', '--mount', 'sh', '-c', `${covers.join(' && ')} && exec "$@"`, 'sh'];
  }

  get runs(): readonly string[] {
    return existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trim().split('\n') : [];
  }
}
