/** What CONNECT's authority names: only what is bound to this waypoint, else nothing. A waypoint is no open relay. */
import { canonicalIp } from '../../model/ip.ts';
import type { WaypointState } from '../state/waypoint-state.ts';
import type { TunnelTarget } from './tunnel-context.ts';

export interface Authority {
  readonly host: string;
  readonly port: number;
}

/** `host:port` or `[v6]:port`; undefined for anything else. */
export function parseAuthority(text: string): Authority | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (!found) return undefined;
  const port = Number(found[3]);
  const host = found[1] ?? found[2] ?? '';
  if (port < 1 || port > 65_535 || host === '') return undefined;
  return { host: canonicalIp(host) ?? host.toLowerCase(), port };
}

/** Services by virtual IP or host name first, then workloads by their own address. */
export function findTarget(state: WaypointState, { host, port }: Authority): TunnelTarget | undefined {
  const isIp = canonicalIp(host) !== undefined;
  const key = isIp ? state.addresses.findByIp(host) : state.addresses.findByHostname(host);
  if (key !== undefined) return { kind: 'SERVICE', key, port };
  return undefined;
}
