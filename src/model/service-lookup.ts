/**
 * Which of several services a client means: by visibility, namespace, canonical flag.
 *
 * Guarantees
 *  - A service with NAMESPACE visibility is never chosen for a client of another namespace; without a client namespace
 *    visibility is not enforced.
 *  - An exact VIP that is invisible does not hide a visible block.
 */
import type { MeshView } from './mesh-view.ts';
import type { Service } from './service.ts';

export interface ServiceClient {
  /** Undefined when the client is not known. */
  readonly namespace: string | undefined;
  /** Tie-break for host names that several namespaces define (DNS only). */
  readonly preferredNamespace?: string | undefined;
}

export function isVisible(service: Service, client: ServiceClient): boolean {
  return service.visibility === 'PUBLIC' || client.namespace === undefined || client.namespace === service.namespace;
}

/** Visible, then of the client's namespace, then canonical, then of the preferred namespace, then the first. */
export function chooseService(candidates: readonly Service[], client: ServiceClient): Service | undefined {
  const visible = candidates.filter((service) => isVisible(service, client));
  return (
    visible.find(({ namespace }) => namespace === client.namespace) ??
    visible.find(({ canonical }) => canonical) ??
    visible.find(({ namespace }) => namespace === client.preferredNamespace) ??
    visible[0]
  );
}

/** The service behind a virtual IP: exact VIPs first, then blocks by (client's namespace, longest, canonical). */
export function findServiceByVip(
  view: MeshView,
  address: { readonly network: string; readonly ip: string },
  client: ServiceClient,
): Service | undefined {
  const exact = chooseService(view.servicesByVip(address.network, address.ip), client);
  if (exact) return exact;
  const ranks = view
    .servicesByVipRange(address.network, address.ip)
    .filter(({ service }) => isVisible(service, client))
    .map(({ service, prefixLength }) => ({
      service,
      rank: [Number(service.namespace === client.namespace), prefixLength, Number(service.canonical)] as const,
    }));
  let best = ranks[0];
  for (const candidate of ranks) {
    if (best && isAbove(candidate.rank, best.rank)) best = candidate;
  }
  return best?.service;
}

export function findServiceByHostname(view: MeshView, hostname: string, client: ServiceClient): Service | undefined {
  return chooseService(view.servicesByHostname(hostname), client);
}

function isAbove(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value > other;
  }
  return false;
}
