/**
 * A network namespace as an owned descriptor. No JavaScript thread ever enters another namespace: what must happen
 * inside one is done by the add-on's worker thread, which the caller waits for (microseconds).
 */
import { fstatSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { checked, checkedValue, NetnsError } from './errors.ts';
import { native } from './native.ts';

/** What the add-on takes for "the namespace of this process". */
const HERE = -1;

/** Owns one descriptor of a network namespace; disposing closes it. The namespace lives on while others hold it. */
export class Netns implements Disposable {
  /** `<dev>:<ino>` of the namespace: equal for two handles exactly when they mean the same namespace. */
  readonly id: string;
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    if (!native.isNetns(fd)) {
      native.closeFd(fd);
      throw new NetnsError('EINVAL', `descriptor ${fd} is not a network namespace`);
    }
    const { dev, ino } = fstatSync(fd, { bigint: true });
    this.id = `${dev}:${ino}`;
  }

  /** Opens a file of nsfs, such as `/run/netns/x` or `/proc/1/ns/net`. Throws EINVAL when it is something else. */
  static open(path: string): Netns {
    if (path.includes('\0')) throw new NetnsError('EINVAL', 'a path has no NUL byte');
    return new Netns(checked(native.openPath(path), `open ${path}`));
  }

  /** Takes ownership of a descriptor; it is closed when it turns out not to be a network namespace (EINVAL). */
  static adopt(fd: number): Netns {
    return new Netns(fd);
  }

  /** The namespace of this process. */
  static current(): Netns {
    return Netns.open('/proc/thread-self/ns/net');
  }

  /** Valid until dispose; throws EBADF afterwards. */
  get fd(): number {
    if (this.#fd < 0) throw new NetnsError('EBADF', 'the namespace handle is closed');
    return this.#fd;
  }

  /** A second handle with its own descriptor. */
  duplicate(): Netns {
    return new Netns(checked(native.duplicateFd(this.fd), 'duplicate a namespace descriptor'));
  }

  /** SO_NETNS_COOKIE: what eBPF programs know this namespace by. */
  cookie(): bigint {
    return checkedValue(native.netnsCookie(this.fd), 'read the namespace cookie');
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    native.closeFd(this.#fd);
    this.#fd = -1;
  }
}

/** The descriptor to give to the add-on. */
export function netnsFd(netns: Netns | undefined): number {
  return netns === undefined ? HERE : netns.fd;
}

/**
 * Makes a namespace with `lo` up and binds it at `path`, a file that must not exist yet (EEXIST); its folder is made
 * when missing. It lives until `removeNetns(path)` and until the last process and descriptor in it is gone.
 */
export function createNetns(path: string): Netns {
  mkdirSync(dirname(path), { recursive: true });
  return Netns.adopt(checked(native.createNetns(path), `create the namespace ${path}`));
}

/** Undoes `createNetns`; no error when the path is gone. EINVAL when the path is neither a mount nor an empty file. */
export function removeNetns(path: string): void {
  checked(native.removeNetns(path), `remove the namespace ${path}`);
}
