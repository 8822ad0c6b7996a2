/**
 * Destinations of VirtualServices: a host name as its namespace means it, and the port of it.
 * Source: Istio (short names, the port where only one is there).
 */
import { NO_HEADERS, toBackend, type WeightedBackend } from '../../../../model/l7/index.ts';
import type { DestinationSpec } from '../../../../schema/index.ts';
import type { ServiceInfo } from '../../service-info.ts';

export interface HostCatalog {
  readonly clusterDomain: string;
  readonly findHost: (hostname: string, namespace: string) => ServiceInfo | undefined;
  /** Whether a DestinationRule gives the service such a subset. */
  readonly hasSubset: (info: ServiceInfo, subset: string) => boolean;
}

/** A name without dots is a Service of the namespace. */
export function fullHostname(host: string, namespace: string, clusterDomain: string): string {
  const lower = host.toLowerCase();
  return lower.includes('.') || lower === '*' ? lower : `${lower}.${namespace}.svc.${clusterDomain}`;
}

export interface DestinationContext {
  readonly namespace: string;
  /** Port that the client addressed. */
  readonly port: number;
  readonly catalog: HostCatalog;
  /** Hears what is wrong. */
  readonly report: (problem: string) => void;
}

/** One that is not there fails its share of the requests with 503, as a cluster that Envoy lacks. */
export function toWeightedBackend(
  { host, subset = '', port }: DestinationSpec,
  weight: number,
  { namespace, port: addressed, catalog, report }: DestinationContext,
): WeightedBackend {
  const unusable = (problem: string): WeightedBackend => {
    report(problem);
    return toBackend({ cluster: '', port: 0, weight, failStatus: 503 });
  };
  const hostname = fullHostname(host, namespace, catalog.clusterDomain);
  const info = catalog.findHost(hostname, namespace) ?? catalog.findHost(host.toLowerCase(), namespace);
  if (!info) return unusable(`destination ${host} does not exist`);
  const only = info.ports.length === 1 ? info.ports[0]?.port : addressed;
  const number = port?.number ?? only ?? addressed;
  if (!info.ports.some((one) => one.port === number)) return unusable(`destination ${host} has no port ${number}`);
  if (subset !== '' && !catalog.hasSubset(info, subset)) {
    return unusable(`destination ${host}: no DestinationRule has its subset ${subset}`);
  }
  return toBackend({
    cluster: info.key,
    port: number,
    subset,
    weight,
    requestHeaders: NO_HEADERS,
    responseHeaders: NO_HEADERS,
  });
}
