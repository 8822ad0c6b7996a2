/**
 * The rules inside a pod as data: one table for both families and for every tool that can install them.
 *
 * What they do: new TCP connections of the application go to the tunnel's outbound port, new ones from outside to its
 * inbound port, queries to its DNS port; the tunnel's own sockets pass, and answers to a foreign source address that the
 * tunnel showed to the application come back to the tunnel.
 *
 * Two things differ from the rules that Istio's agent installs, and both are there for connections:
 *  - Only a SYN is redirected. A connection that was open before the rules is seen by connection tracking for the first
 *    time in its middle; without this it would be redirected there, and break.
 *  - Connections that the tunnel marks 0x111 are not tracked. They carry the client's address; a tracked one could meet
 *    the client's own connection with the same port.
 * Source: Istio node agent behaviour, order of the rules included.
 */

import type { IpRange } from '../../model/address.ts';
import { ipFamily } from '../../model/ip.ts';
import {
  DNS_PORT,
  INBOUND_HBONE_PORT,
  INBOUND_PLAINTEXT_PORT,
  OUTBOUND_PORT,
  SOURCE_PRESERVING_MARK,
  TUNNEL_MARK,
} from '../../model/ports.ts';
import type { CaptureOptions, Exclusions } from './port.ts';

/** Source address of the kubelet's probes as pods see them. */
export const PROBE_SOURCE = { 4: '169.254.7.127', 6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' } as const;
/** Only this address is exempted as loopback; the rest of 127/8 leaves by `lo` and is exempted by that. */
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;
const QUERY_PORT = 53;
/** Conntrack zone of the tunnel's own queries. */
const QUERY_ZONE = 1;

export type RuleTable = 'mangle' | 'raw' | 'nat';
export type RuleChain = 'prerouting' | 'output';
/** An address of each family; a rule applies to both. */
export type AddressPair = Readonly<Record<4 | 6, string>>;

export type Match =
  | { readonly on: 'protocol'; readonly protocol: 'tcp' | 'udp' }
  | { readonly on: 'source' | 'destination'; readonly address: AddressPair; readonly not?: true }
  /** Of one family; the rule is for that family alone. */
  | { readonly on: 'destination-range'; readonly range: IpRange; readonly family: 4 | 6 }
  | { readonly on: 'source-port' | 'destination-port'; readonly port: number; readonly not?: true }
  | { readonly on: 'in-interface' | 'out-interface'; readonly name: string; readonly not?: true }
  /** Packet mark, under the mask 0xfff. */
  | { readonly on: 'mark'; readonly mark: number; readonly not?: true }
  | { readonly on: 'connection-mark'; readonly mark: number }
  /** A TCP segment that opens a connection. */
  | { readonly on: 'syn' }
  | { readonly on: 'established' };

export type Action =
  | { readonly do: 'accept' | 'return' | 'no-track' | 'restore-mark' }
  | { readonly do: 'redirect'; readonly port: number }
  | { readonly do: 'mark-connection'; readonly mark: number }
  | { readonly do: 'zone'; readonly zone: number };

export interface Rule {
  readonly table: RuleTable;
  readonly chain: RuleChain;
  readonly matches: readonly Match[];
  readonly action: Action;
}

const tcp: Match = { on: 'protocol', protocol: 'tcp' };
const udp: Match = { on: 'protocol', protocol: 'udp' };
const syn: Match = { on: 'syn' };
const notTunnel: readonly Match[] = [
  { on: 'mark', mark: TUNNEL_MARK, not: true },
  { on: 'mark', mark: SOURCE_PRESERVING_MARK, not: true },
];
const notToLoopback: Match = { on: 'destination', address: LOOPBACK, not: true };

/** The rules of an enrolled pod, in the order in which they must stand in their chains. */
export function captureRules(options: CaptureOptions): readonly Rule[] {
  const { dnsCapture, ingressBypass, virtualInterfaces, exclusions } = options;
  return [
    ...returnPathRules(),
    ...virtualInterfaces.flatMap(virtualInterfaceRules),
    ...(ingressBypass ? [] : [nat('prerouting', [{ on: 'source', address: PROBE_SOURCE }, tcp], { do: 'accept' })]),
    nat('output', [{ on: 'destination', address: PROBE_SOURCE }, tcp], { do: 'accept' }),
    ...(exclusions === undefined ? [] : exclusionRules(exclusions)),
    ...(ingressBypass ? [] : [inboundRule()]),
    ...(dnsCapture ? queryRules() : []),
    nat('output', [tcp, { on: 'mark', mark: SOURCE_PRESERVING_MARK }], { do: 'accept' }),
    nat('output', [notToLoopback, { on: 'out-interface', name: 'lo' }], { do: 'accept' }),
    nat('output', [notToLoopback, tcp, syn, ...notTunnel], { do: 'redirect', port: OUTBOUND_PORT }),
  ];
}

/**
 * The rules of a pod that was un-enrolled while captured connections were open: nothing new is captured, and address
 * translation and the return path of the open ones stay. The last rule changes nothing; it keeps the tracking alive.
 */
export function drainRules(): readonly Rule[] {
  return [...returnPathRules(), nat('prerouting', [{ on: 'established' }], { do: 'accept' })];
}

function returnPathRules(): readonly Rule[] {
  const ours: Match = { on: 'mark', mark: SOURCE_PRESERVING_MARK };
  return [
    { table: 'raw', chain: 'prerouting', matches: [tcp, ours], action: { do: 'no-track' } },
    { table: 'raw', chain: 'output', matches: [tcp, ours], action: { do: 'no-track' } },
    {
      table: 'mangle',
      chain: 'prerouting',
      matches: [{ on: 'mark', mark: TUNNEL_MARK }],
      action: { do: 'mark-connection', mark: SOURCE_PRESERVING_MARK },
    },
    {
      table: 'mangle',
      chain: 'output',
      matches: [{ on: 'connection-mark', mark: SOURCE_PRESERVING_MARK }],
      action: { do: 'restore-mark' },
    },
  ];
}

function virtualInterfaceRules(name: string): readonly Rule[] {
  const from: Match = { on: 'in-interface', name };
  return [
    nat('prerouting', [from, tcp, syn], { do: 'redirect', port: OUTBOUND_PORT }),
    nat('prerouting', [from, tcp], { do: 'return' }),
  ];
}

/** Before the rules that redirect. Only what opens a connection is translated, so nothing of an open one comes here. */
function exclusionRules({ outboundPorts, outboundRanges, inboundPorts }: Exclusions): readonly Rule[] {
  const accept: Action = { do: 'accept' };
  const toPort = (port: number): readonly Match[] => [tcp, { on: 'destination-port', port }];
  return [
    ...inboundPorts.map((port) => nat('prerouting', toPort(port), accept)),
    ...outboundPorts.map((port) => nat('output', toPort(port), accept)),
    ...outboundRanges.map((range) =>
      nat('output', [{ on: 'destination-range', range, family: ipFamily(range.ip) }, tcp], accept),
    ),
  ];
}

function inboundRule(): Rule {
  const matches: readonly Match[] = [
    notToLoopback,
    tcp,
    syn,
    { on: 'destination-port', port: INBOUND_HBONE_PORT, not: true },
    ...notTunnel,
  ];
  return nat('prerouting', matches, { do: 'redirect', port: INBOUND_PLAINTEXT_PORT });
}

/** UDP is exempted by the interface it leaves through, TCP by its destination, as the reference has it. */
function queryRules(): readonly Rule[] {
  const toServer: Match = { on: 'destination-port', port: QUERY_PORT };
  const fromServer: Match = { on: 'source-port', port: QUERY_PORT };
  const redirect: Action = { do: 'redirect', port: DNS_PORT };
  const zone: Action = { do: 'zone', zone: QUERY_ZONE };
  const byTunnel: Match = { on: 'mark', mark: TUNNEL_MARK };
  return [
    nat('output', [{ on: 'out-interface', name: 'lo', not: true }, udp, toServer, ...notTunnel], redirect),
    nat('output', [notToLoopback, tcp, syn, toServer, ...notTunnel], redirect),
    { table: 'raw', chain: 'output', matches: [udp, toServer, byTunnel], action: zone },
    { table: 'raw', chain: 'prerouting', matches: [udp, fromServer, notTunnel[0] as Match], action: zone },
  ];
}

function nat(chain: RuleChain, matches: readonly Match[], action: Action): Rule {
  return { table: 'nat', chain, matches, action };
}
