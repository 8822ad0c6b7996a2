/** Kernel settings below `net` of a namespace. Source: sysctl(8), proc_sys(5). */
import { checked, NetnsError, toNetnsError } from './errors.ts';
import { native } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';

/** `net.ipv4.tcp_fwmark_accept`, or with slashes where an interface name has a dot: `net/ipv4/conf/eth0.1/forwarding`. */
const NAME = /^net(?:[./][A-Za-z0-9_@:-][A-Za-z0-9_@:.-]*)+$/;
const VALUE_BYTES_MAX = 1024;

/** The value without the newline at its end. ENOENT when the kernel has no such setting. */
export function readSysctl(netns: Netns | undefined, name: string): string {
  const value = native.sysctl(netnsFd(netns), sysctlPath(name), null);
  if (typeof value === 'number') throw toNetnsError(value, `read ${name}`);
  return value.trimEnd();
}

export function writeSysctl(netns: Netns | undefined, name: string, value: string): void {
  if (value.length === 0 || Buffer.byteLength(value) > VALUE_BYTES_MAX)
    throw new NetnsError('EINVAL', `the value for ${name} is empty or longer than ${VALUE_BYTES_MAX} bytes`);
  const result = native.sysctl(netnsFd(netns), sysctlPath(name), value);
  if (typeof result === 'number') checked(result, `write ${name}`);
}

function sysctlPath(name: string): string {
  const path = name.includes('/') ? name : name.replaceAll('.', '/');
  if (name.length > 256 || !NAME.test(name) || path.split('/').some((part) => part === '..' || part === ''))
    throw new NetnsError('EINVAL', `not a setting below net: ${JSON.stringify(name)}`);
  return `/proc/sys/${path}`;
}
