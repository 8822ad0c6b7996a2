/** UDP sockets bound inside a namespace, for `dgram.createSocket(...).bind({ fd })`. */
import { checkInteger, checkIpPort, ipPortText, U32_MAX } from './address.ts';
import { checked } from './errors.ts';
import { native } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';

export interface BindUdpOptions {
  readonly ip: string;
  readonly port: number;
  readonly mark?: number | undefined;
  readonly reusePort?: boolean | undefined;
  /** An IPv6 socket takes IPv4 too unless this is true. */
  readonly ipv6Only?: boolean | undefined;
}

/**
 * Returns a bound, non-blocking, CLOEXEC descriptor that the caller owns. Throws NetnsError. A dgram socket that takes it
 * by `bind({ fd })` is listening when that call returns.
 */
export function bindUdp(netns: Netns | undefined, options: BindUdpOptions): number {
  checkIpPort(options.ip, options.port);
  if (options.mark !== undefined) checkInteger('mark', options.mark, 0, U32_MAX);
  const request = {
    datagram: true,
    localIp: options.ip,
    localPort: options.port,
    mark: options.mark,
    reusePort: options.reusePort === true,
    ipv6Only: options.ipv6Only === true,
  };
  return checked(native.openSocket(netnsFd(netns), request), `bind UDP ${ipPortText(options)}`);
}

/**
 * Takes a bound UDP socket on loopback out of its SO_REUSEPORT group: from now on datagrams go to the other sockets of the
 * group, or are refused when there is none. What arrived before is still read, and answers can be sent. Throws NetnsError.
 */
export function leaveUdpGroup(fd: number): void {
  checked(native.leaveGroup(fd), 'leave the group of a UDP socket');
}
