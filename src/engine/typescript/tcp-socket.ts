/** A TCP connection of a descriptor, which can be ended by a reset at any time. */
import { Socket } from 'node:net';
import { resetOnClose } from 'culvert-netns';

export class TcpSocket extends Socket {
  readonly #fd: number;

  /** Takes ownership of a connected, non-blocking descriptor. */
  constructor(fd: number) {
    super({ fd, allowHalfOpen: true, readable: true, writable: true });
    this.#fd = fd;
  }

  /** Destroys; the peer sees RST. Unlike `resetAndDestroy` also after FIN was sent, where libuv refuses. */
  reset(): void {
    if (this.destroyed) return;
    resetOnClose(this.#fd);
    this.destroy();
  }
}
