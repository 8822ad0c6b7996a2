/**
 * What waits in a listener's queues when it closes: handshakes under way and connections not accepted yet. The kernel
 * resets them unless another listener of the same SO_REUSEPORT group may have them; that is a setting of the namespace.
 * Source: ip-sysctl `tcp_migrate_req` (Linux 5.14).
 */
import { type Netns, writeSysctl } from 'culvert-netns';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';

/** For the listeners of a pod. Where it is refused, a few connections may be reset at an upgrade; that is logged. */
export function passQueuesOn(netns: Netns, log: Logger): void {
  try {
    writeSysctl(netns, 'net.ipv4.tcp_migrate_req', '1');
  } catch (error) {
    log.warn('connections that wait to be accepted may be reset', { error: errorMessage(error) });
  }
}
