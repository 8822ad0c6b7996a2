/**
 * Return path of connections that the tunnel opens from a foreign source address: packets marked 0x111 are delivered to
 * the local stack. The same for every back-end. `tcp_fwmark_accept` gives an accepted socket the mark of its SYN, so
 * that the application's answers carry it.
 * Source: Istio ambient routing objects; ip-sysctl `tcp_fwmark_accept`.
 */
import {
  addRule,
  deleteLocalRoute,
  deleteRule,
  type Netns,
  type RuleSpec,
  readSysctl,
  replaceLocalRoute,
  writeSysctl,
} from 'culvert-netns';
import { errnoName, errorMessage, MeshError } from '../../core/errors.ts';
import { MARK_MASK, REDIRECT_ROUTE_TABLE, REDIRECT_RULE_PRIORITY, SOURCE_PRESERVING_MARK } from '../../model/ports.ts';

const FWMARK_ACCEPT = 'net.ipv4.tcp_fwmark_accept';

/** Installs rule, route and sysctl. Throws ERR_REDIRECT; may be repeated. */
export function installReturnPath(netns: Netns, ipv6: boolean): void {
  attempt('install the return path', () => {
    writeSysctl(netns, FWMARK_ACCEPT, '1');
    for (const family of returnPathFamilies(netns, ipv6)) {
      addRule(netns, ruleOf(family));
      replaceLocalRoute(netns, { family, table: REDIRECT_ROUTE_TABLE });
    }
  });
}

/** Removes what `installReturnPath` made. Throws ERR_REDIRECT; may be repeated. */
export function removeReturnPath(netns: Netns, ipv6: boolean): void {
  attempt('remove the return path', () => {
    for (const family of returnPathFamilies(netns, ipv6)) {
      deleteRule(netns, ruleOf(family));
      deleteLocalRoute(netns, { family, table: REDIRECT_ROUTE_TABLE });
    }
    writeSysctl(netns, FWMARK_ACCEPT, '0');
  });
}

function ruleOf(family: 4 | 6): RuleSpec {
  return {
    family,
    fwmark: SOURCE_PRESERVING_MARK,
    mask: MARK_MASK,
    table: REDIRECT_ROUTE_TABLE,
    priority: REDIRECT_RULE_PRIORITY,
  };
}

function returnPathFamilies(netns: Netns, ipv6: boolean): readonly (4 | 6)[] {
  return ipv6 && hasIpv6(netns) ? [4, 6] : [4];
}

/** Whether `lo` carries IPv6 in that namespace. */
export function hasIpv6(netns: Netns): boolean {
  try {
    return readSysctl(netns, 'net.ipv6.conf.lo.disable_ipv6') === '0';
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return false;
    throw error;
  }
}

function attempt(what: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    throw new MeshError('ERR_REDIRECT', `cannot ${what}: ${errorMessage(cause)}`, { cause });
  }
}
