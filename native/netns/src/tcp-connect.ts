/**
 * TCP connections made inside a namespace, with a source address and a deadline. The caller gets a connected descriptor
 * or an error, never both: on refusal, timeout and abort the descriptor is closed here.
 * Source: connect(2) on EINPROGRESS, ip(7) IP_TRANSPARENT and IP_BIND_ADDRESS_NO_PORT.
 */
import { checkInteger, checkIpPort, type IpPort, ipPortText, U32_MAX } from './address.ts';
import { canceled, checked, NetnsError } from './errors.ts';
import { native } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';
import { Readiness } from './readiness.ts';
import { type Keepalive, keepaliveSeconds } from './socket-option.ts';

export interface ConnectTcpOptions {
  readonly to: IpPort;
  /** Source address; same family as `to`. The port is chosen by the kernel. */
  readonly fromIp?: string | undefined;
  /** Allows a `fromIp` that is not of this namespace (IP_TRANSPARENT and FREEBIND). */
  readonly transparent?: boolean | undefined;
  readonly mark?: number | undefined;
  /** From the call to the established connection; rejects with ETIMEDOUT. */
  readonly timeoutMs: number;
  readonly keepalive?: Keepalive | undefined;
  /** TCP_USER_TIMEOUT. */
  readonly userTimeoutMs?: number | undefined;
  readonly noDelay?: boolean | undefined;
  /** TCP_CONGESTION. */
  readonly congestion?: string | undefined;
}

/**
 * Connects from `netns` (undefined: the namespace of this process). Resolves with a connected, non-blocking, CLOEXEC
 * descriptor that the caller owns. Rejects with NetnsError: the errno name in `code` (`ECONNREFUSED`, `ETIMEDOUT`,
 * `ECANCELED` after an abort) and the failed call in `syscall`, so that a refused source address (`bind`) can be told
 * from a refused connection. `netns` may be closed once the call returned.
 */
export async function connectTcp(
  netns: Netns | undefined,
  options: ConnectTcpOptions,
  signal?: AbortSignal,
): Promise<number> {
  const what = `connect to ${ipPortText(options.to)}`;
  if (signal?.aborted) throw canceled(what, signal);
  const fd = checked(native.openSocket(netnsFd(netns), toRequest(options)), what);
  const deadline = new AbortController();
  const onAbort = () => deadline.abort(canceled(what, signal));
  const timer = setTimeout(
    () => deadline.abort(new NetnsError('ETIMEDOUT', `${what}: no answer in ${options.timeoutMs} ms`)),
    options.timeoutMs,
  );
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    using readiness = new Readiness(fd);
    await readiness.writable(deadline.signal);
    checked(native.socketError(fd), what);
    if (signal?.aborted) throw canceled(what, signal);
    return fd;
  } catch (error) {
    native.closeFd(fd);
    throw deadline.signal.aborted ? deadline.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function toRequest(options: ConnectTcpOptions): Parameters<typeof native.openSocket>[1] {
  const family = checkIpPort(options.to.ip, options.to.port);
  checkInteger('timeoutMs', options.timeoutMs, 1, 0x7fff_ffff);
  if (options.fromIp !== undefined && checkIpPort(options.fromIp, 0) !== family)
    throw new NetnsError('EAFNOSUPPORT', `source ${options.fromIp} and ${options.to.ip} are of different families`);
  if (options.mark !== undefined) checkInteger('mark', options.mark, 0, U32_MAX);
  return {
    remoteIp: options.to.ip,
    remotePort: options.to.port,
    localIp: options.fromIp,
    localPort: 0,
    transparent: options.transparent === true,
    mark: options.mark,
    noDelay: options.noDelay === true,
    userTimeoutMs: options.userTimeoutMs,
    congestion: options.congestion,
    ...(options.keepalive ? { keepalive: true, ...keepaliveSeconds(options.keepalive) } : {}),
  };
}
