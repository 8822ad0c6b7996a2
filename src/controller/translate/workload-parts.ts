/** Parts that workloads of every origin share. Source: Istio control plane. */
import { canonicalIp } from '../../model/ip.ts';
import type { Locality, TunnelProtocol, Workload } from '../../model/workload.ts';
import type { Labels } from './selector.ts';

export const NO_LOCALITY: Locality = { region: '', zone: '', subzone: '' };

type Required = 'uid' | 'name' | 'namespace' | 'clusterId' | 'trustDomain';

/** A workload from what is known of it; the rest is what an empty message says. */
export function withDefaults(known: Pick<Workload, Required> & Partial<Workload>): Workload {
  return {
    addresses: [],
    hostname: '',
    network: '',
    tunnelProtocol: 'NONE',
    serviceAccount: 'default',
    waypoint: undefined,
    networkGateway: undefined,
    node: '',
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 'DEPLOYMENT',
    workloadName: '',
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    status: 'HEALTHY',
    locality: NO_LOCALITY,
    networkMode: 'STANDARD',
    capacity: 1,
    ...known,
  };
}

/** The state that the node agent reports decides, or the label of a workload that tunnels by itself; later wins. */
export function tunnelOf(
  labels: Labels,
  annotations: Labels,
): { tunnelProtocol: TunnelProtocol; nativeTunnel: boolean } {
  if ((labels['networking.istio.io/tunnel'] ?? '').split(',').includes('http')) {
    return { tunnelProtocol: 'HBONE', nativeTunnel: true };
  }
  const redirected = annotations['ambient.istio.io/redirection'] === 'enabled';
  return { tunnelProtocol: redirected ? 'HBONE' : 'NONE', nativeTunnel: false };
}

export function canonicalNames(labels: Labels, name: string): { canonicalName: string; canonicalRevision: string } {
  return {
    canonicalName: labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels.app ?? name,
    canonicalRevision:
      labels['service.istio.io/canonical-revision'] ??
      labels['app.kubernetes.io/version'] ??
      labels.version ??
      'latest',
  };
}

/** An IP address becomes the address, anything else the host name to resolve. */
export function entryAddress(text: string): Pick<Workload, 'addresses' | 'hostname'> {
  const ip = canonicalIp(text);
  return ip === undefined ? { addresses: [], hostname: text } : { addresses: [ip], hostname: '' };
}

/** `region/zone/subzone`. */
export function localityOf(text: string | undefined): Locality {
  const [region = '', zone = '', subzone = ''] = (text ?? '').split('/');
  return { region, zone, subzone };
}
