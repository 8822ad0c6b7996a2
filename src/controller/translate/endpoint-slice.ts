/** Endpoints listed by hand in an EndpointSlice, to workloads. Source: Istio control plane. */
import { canonicalIp } from '../../model/ip.ts';
import type { Workload } from '../../model/workload.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type EndpointSlice, namespaceOf } from '../resources.ts';
import type { ServiceInfo } from './service-info.ts';
import { withDefaults } from './workload-parts.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';

/** The service a slice belongs to, `namespace/name`; undefined for slices that name none or list host names. */
export function sliceService(slice: EndpointSlice): string | undefined {
  const service = slice.metadata.labels?.[SERVICE_NAME];
  return service === undefined || slice.addressType === 'FQDN' ? undefined : `${namespaceOf(slice)}/${service}`;
}

/** Pods that a slice names, `namespace/name/uid`. */
export function slicePods(slice: EndpointSlice): readonly string[] {
  return (slice.endpoints ?? [])
    .map(({ targetRef }) => targetRef)
    .filter((ref) => ref?.kind === 'Pod')
    .map((ref) => `${ref?.namespace ?? namespaceOf(slice)}/${ref?.name}/${ref?.uid ?? ''}`);
}

export function translateEndpointSlice(
  slice: EndpointSlice,
  info: ServiceInfo,
  around: { readonly settings: MeshSettings; readonly network: string },
): readonly Workload[] {
  const namespace = namespaceOf(slice);
  const { name } = slice.metadata;
  const { clusterId, trustDomain } = around.settings;
  const ports = new Map<number, number>();
  for (const { name: portName, port, protocol } of slice.ports ?? []) {
    const found = info.ports.find((one) => one.name === (portName ?? ''));
    if (found && port && (protocol ?? 'TCP') === 'TCP') ports.set(found.port, port);
  }
  const workloads = new Map<string, Workload>();
  for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
    const ips = addresses.map(canonicalIp);
    const first = ips[0];
    if (targetRef?.kind === 'Pod' || first === undefined || !ips.every((ip) => ip !== undefined)) continue;
    const uid = `${clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${name}/${first}`;
    if (workloads.has(uid)) continue;
    const workload = withDefaults({
      uid,
      name,
      namespace,
      addresses: ips,
      network: around.network,
      trustDomain,
      clusterId,
      services: new Map([[info.key, ports]]),
      status: (conditions?.ready ?? true) ? 'HEALTHY' : 'UNHEALTHY',
      networkMode: 'HOST_NETWORK', // somebody else's address perhaps: never looked up by IP
    });
    workloads.set(uid, workload);
  }
  return [...workloads.values()];
}
