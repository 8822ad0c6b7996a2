/** TLS and TCP routes of a VirtualService, for one service port. Source: Istio TLSRoute and TCPRoute. */
import type { IpRange } from '../../../../model/address.ts';
import { canonicalIp } from '../../../../model/ip.ts';
import type { L4Route, WeightedBackend } from '../../../../model/l7/index.ts';
import type { VirtualTcpRoute, VirtualTlsRoute } from '../../../../schema/index.ts';
import { type DestinationContext, toWeightedBackend } from './destination.ts';

type L4Match = NonNullable<VirtualTlsRoute['match']>[number] & NonNullable<VirtualTcpRoute['match']>[number];

export function translateTls(route: VirtualTlsRoute, name: string, context: DestinationContext): readonly L4Route[] {
  return translateL4(route, name, context).map((one) => (one.sniHosts.length > 0 ? one : { ...one, sniHosts: ['*'] }));
}

/** One route for every match. */
export function translateL4(
  route: VirtualTcpRoute | VirtualTlsRoute,
  name: string,
  context: DestinationContext,
): readonly L4Route[] {
  const given = route.route ?? [];
  const isOnly = given.length === 1;
  const backends = given.map(
    ({ destination, weight = 0 }): WeightedBackend =>
      toWeightedBackend(destination, isOnly && weight === 0 ? 100 : weight, context),
  );
  const matches: readonly L4Match[] = route.match && route.match.length > 0 ? route.match : [{}];
  return matches.flatMap((match) => {
    const fault = faultOf(match);
    if (fault !== undefined) {
      context.report(`route ${name}: ${fault}; the match is left out`);
      return [];
    }
    if (match.port !== undefined && match.port !== context.port) return [];
    return [
      {
        name,
        sniHosts: (match.sniHosts ?? []).map((host) => host.toLowerCase()),
        destinations: (match.destinationSubnets ?? []).map(parseRange).filter((one) => one !== undefined),
        sources: [match.sourceSubnet]
          .map((text) => (text ? parseRange(text) : undefined))
          .filter((one) => one !== undefined),
        clientNamespaces: match.sourceNamespace ? [match.sourceNamespace] : [],
        backends,
      },
    ];
  });
}

function faultOf({ sourceLabels, gateways, destinationSubnets = [], sourceSubnet }: L4Match): string | undefined {
  if (sourceLabels && Object.keys(sourceLabels).length > 0) return 'sourceLabels: labels of clients are not known here';
  if (gateways && gateways.length > 0 && !gateways.includes('mesh')) return 'gateways: they are not the mesh';
  const subnets = [...destinationSubnets, ...(sourceSubnet ? [sourceSubnet] : [])];
  const bad = subnets.find((text) => parseRange(text) === undefined);
  return bad === undefined ? undefined : `${bad} is neither an IP address nor a block of them`;
}

function parseRange(text: string): IpRange | undefined {
  const [address = '', length] = text.split('/');
  const ip = canonicalIp(address);
  if (ip === undefined) return undefined;
  const full = ip.includes(':') ? 128 : 32;
  const prefixLength = length === undefined ? full : Number(length);
  return Number.isInteger(prefixLength) && prefixLength >= 0 && prefixLength <= full ? { ip, prefixLength } : undefined;
}
