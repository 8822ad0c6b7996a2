/**
 * All that one gateway is told: its settings, what is bound to it with routes and policies, and the clusters that these
 * lead to.
 *
 * Invariants
 *  - A gateway is told of services before clients are sent to it, and only of those that ask for it and may.
 *  - Every cluster that a route, mirror or policy names is told as well.
 */
import { type BackendRef, type BoundService, type GatewayConfig, toGatewayConfig } from '../../../model/l7/index.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { namespaceOf } from '../../resources.ts';
import type { ServiceInfo } from '../service-info.ts';
import { type AttachedRoute, portRoutes } from './attached-routes.ts';
import { toBound } from './clusters.ts';
import type { ServedGateway } from './served-gateways.ts';

const XFCC = 'ambient.istio.io/xfcc-include-client-identity';

export function toConfig({ gateway, kind }: ServedGateway, settings: MeshSettings, network: string): GatewayConfig {
  return toGatewayConfig({
    namespace: namespaceOf(gateway),
    name: gateway.metadata.name,
    kind,
    trustDomain: settings.trustDomain,
    clusterDomain: settings.clusterDomain,
    clusterId: settings.clusterId,
    network,
    xfccIncludesClient: gateway.metadata.annotations?.[XFCC] === 'true',
  });
}

/** A bound service with the routes that hold for it. */
export function withRoutes(info: ServiceInfo, routes: readonly AttachedRoute[]): BoundService {
  const bound = toBound(info);
  return {
    ...bound,
    ports: bound.ports.map((port) => ({ ...port, ...portRoutes({ key: info.key, port: port.port }, routes) })),
  };
}

/** Keys of the clusters that a service's traffic may go to, its own included. */
export function referredClusters({ namespace, hostname, ports }: BoundService): ReadonlySet<string> {
  const keys = new Set([`${namespace}/${hostname}`]);
  const add = ({ cluster }: Pick<BackendRef, 'cluster'>): void => {
    if (cluster !== '') keys.add(cluster);
  };
  for (const { virtualHosts, l4Routes } of ports) {
    for (const { routes } of virtualHosts) {
      for (const { action, mirrors } of routes) {
        if (action.kind === 'FORWARD') action.backends.forEach(add);
        for (const { backend } of mirrors) add(backend);
      }
    }
    for (const { backends } of l4Routes) backends.forEach(add);
  }
  return keys;
}
