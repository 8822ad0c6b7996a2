/** An IP and a port, and the check that every address given to the add-on passes. */
import { isIP } from 'node:net';
import { NetnsError } from './errors.ts';

/** `ip` is canonical text; a v4-mapped address is already IPv4. */
export interface IpPort {
  readonly ip: string;
  readonly port: number;
}

/** Throws EINVAL unless `ip` is an address without a zone and `port` is 0-65535. Returns the family. */
export function checkIpPort(ip: string, port: number): 4 | 6 {
  const family = isIP(ip);
  if (family === 0 || ip.includes('%')) throw new NetnsError('EINVAL', `not an IP address: ${JSON.stringify(ip)}`);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new NetnsError('EINVAL', `not a port: ${port}`);
  return family === 4 ? 4 : 6;
}

/** `10.0.0.1:80`, `[::1]:80`. */
export function ipPortText({ ip, port }: IpPort): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Throws EINVAL unless `value` is an integer in the range. */
export function checkInteger(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new NetnsError('EINVAL', `${name} is not an integer in ${min}..${max}: ${value}`);
  return value;
}

/** The largest value of a packet mark, a mask or a table number. */
export const U32_MAX = 0xffff_ffff;
