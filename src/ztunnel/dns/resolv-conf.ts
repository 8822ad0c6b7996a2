/** `/etc/resolv.conf`. Source: resolv.conf(5). */
import { canonicalIp } from '../../model/ip.ts';

export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

/** The resolver library uses no more. */
const NAMESERVERS_MAX = 3;

/** Unknown lines and addresses that are none are left out. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let search: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    const ip = canonicalIp(values[0] ?? '');
    if (keyword === 'nameserver' && ip !== undefined && nameservers.length < NAMESERVERS_MAX) nameservers.push(ip);
    if (keyword === 'search' || keyword === 'domain') {
      search = values.map((domain) => domain.toLowerCase().replace(/\.$/, '')).filter((domain) => domain !== '');
    }
  }
  return { nameservers, search };
}
