/** Attachments of programs. A link detaches when its last descriptor and its last pin are gone. */
import { checked, checkedValue, toBpfError } from './errors.ts';
import { type FdHandle, type LinkDescription, native } from './native.ts';
import type { BpfProgram } from './program.ts';

const ENOENT = -2;

/** Owns one descriptor of a link; disposing closes it, and detaches unless the link is pinned. */
export class BpfLink implements Disposable {
  readonly #handle: FdHandle;

  private constructor(handle: FdHandle) {
    this.#handle = handle;
  }

  /** Takes the handle over. */
  static fromHandle(handle: FdHandle): BpfLink {
    return new BpfLink(handle);
  }

  /** Opens a pinned link; undefined when there is no such pin. */
  static openPinned(path: string): BpfLink | undefined {
    const handle = native.openPinned(path);
    if (handle === ENOENT) return undefined;
    return new BpfLink(checkedValue(handle, `open the pinned link ${path}`));
  }

  /** What the link connects; `target` is the cgroup id or the inode of the network namespace, 0 once that is gone. */
  info(): LinkDescription {
    return checkedValue(native.linkInfo(this.#handle), 'inspect a link');
  }

  /** Swaps the program, atomically. Throws ENOLINK when the target is gone: recreate the link then. */
  update(program: BpfProgram): void {
    checked(native.linkUpdate(this.#handle, program.handle), `update a link to ${program.name}`);
  }

  /** Detaches at once, whatever pins there are. No error when the target is gone. */
  detach(): void {
    const result = native.linkDetach(this.#handle);
    if (result < 0 && result !== -67) throw toBpfError(result, 'detach a link');
  }

  /** Pins the link in bpffs, so that it outlives the process; throws EEXIST when the path is taken. */
  pin(path: string): void {
    checked(native.pinHandle(this.#handle, path), `pin a link at ${path}`);
  }

  [Symbol.dispose](): void {
    native.close(this.#handle);
  }
}
