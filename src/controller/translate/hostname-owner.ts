/**
 * Several objects with one host name. In a namespace a Service beats entries, and of entries the oldest wins; across
 * namespaces one is canonical: the Service, else the oldest entry. Source: Istio control plane.
 */
import type { ServiceInfo } from './service-info.ts';

/** The services that are sent. `entries` come oldest first. */
export function ownHostnames(
  services: readonly ServiceInfo[],
  entries: readonly ServiceInfo[],
): { readonly infos: readonly ServiceInfo[]; readonly canonical: ReadonlySet<ServiceInfo> } {
  const byKey = new Map<string, ServiceInfo>();
  for (const info of [...services, ...entries]) if (!byKey.has(info.key)) byKey.set(info.key, info);
  const canonicalOf = new Map<string, ServiceInfo>();
  for (const info of byKey.values()) {
    if (!canonicalOf.has(info.service.hostname)) canonicalOf.set(info.service.hostname, info);
  }
  return { infos: [...byKey.values()], canonical: new Set(canonicalOf.values()) };
}
