/**
 * Policy rules, local routes and addresses of a namespace, over rtnetlink; no `ip` program is run. Adding what is there
 * and deleting what is not are no errors, so that every function may be repeated.
 * Source: ip-rule(8), ip-route(8) `local default dev lo`.
 */
import { checkInteger, U32_MAX } from './address.ts';
import { checked, checkedValue, NetnsError } from './errors.ts';
import { native } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';

/** `ip [-6] rule add fwmark <fwmark>/<mask> pref <priority> lookup <table>`. */
export interface RuleSpec {
  readonly family: 4 | 6;
  readonly fwmark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
}

/** `ip [-6] route replace local default dev lo table <table>`. */
export interface LocalRouteSpec {
  readonly family: 4 | 6;
  readonly table: number;
}

/** Adds the rule unless an equal one exists. */
export function addRule(netns: Netns | undefined, rule: RuleSpec): void {
  changeRule(netns, rule, true);
}

/** Deletes the rule if it exists. */
export function deleteRule(netns: Netns | undefined, rule: RuleSpec): void {
  changeRule(netns, rule, false);
}

/** Makes every address local in that table, so that packets sent there are delivered to this host. */
export function replaceLocalRoute(netns: Netns | undefined, route: LocalRouteSpec): void {
  changeRoute(netns, route, true);
}

/** Deletes that route if it exists. */
export function deleteLocalRoute(netns: Netns | undefined, route: LocalRouteSpec): void {
  changeRoute(netns, route, false);
}

/** All IPs assigned to interfaces of the namespace, each once, loopback included. */
export function localAddresses(netns: Netns | undefined): readonly string[] {
  return [...new Set(checkedValue(native.localAddresses(netnsFd(netns)), 'list the addresses of a namespace'))];
}

function changeRule(netns: Netns | undefined, { family, fwmark, mask, table, priority }: RuleSpec, add: boolean): void {
  checkTable(family, table);
  checkInteger('fwmark', fwmark, 0, U32_MAX);
  checkInteger('mask', mask, 1, U32_MAX);
  checkInteger('priority', priority, 1, U32_MAX);
  const change = { add, rule: true, family, fwmark, mask, table, priority };
  checked(native.changeRoute(netnsFd(netns), change), `${add ? 'add' : 'delete'} rule ${priority} for table ${table}`);
}

function changeRoute(netns: Netns | undefined, { family, table }: LocalRouteSpec, add: boolean): void {
  checkTable(family, table);
  const what = `${add ? 'add' : 'delete'} the local route of table ${table}`;
  checked(native.changeRoute(netnsFd(netns), { add, rule: false, family, table }), what);
}

function checkTable(family: number, table: number): void {
  if (family !== 4 && family !== 6) throw new NetnsError('EINVAL', `not an address family: ${family}`);
  checkInteger('table', table, 1, U32_MAX);
}
