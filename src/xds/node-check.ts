/** Checks the node of a stream's first request. Source: Istio control plane. */
import { ipBytes } from '../model/ip-bytes.ts';
import type { NodeInfo } from './message-codec.ts';

export interface TunnelNode {
  readonly id: string;
  readonly podName: string;
  readonly namespace: string;
  /** Empty when it does not say. */
  readonly nodeName: string;
  /** `namespace/name` of the Gateway that a waypoint is a replica of; undefined for node tunnels. */
  readonly gateway?: string;
}

export type NodeCheck =
  | { readonly ok: true; readonly node: TunnelNode }
  | { readonly ok: false; readonly kind: 'invalid' | 'denied'; readonly message: string };

const MAX_ID_LENGTH = 1_024;

/** Id of a tunnel: `ztunnel~<ip>~<pod>.<namespace>~<domain>`. */
export function tunnelNodeId(parts: { ip: string; pod: string; namespace: string }): string {
  const { ip, pod, namespace } = parts;
  return `ztunnel~${ip}~${pod}.${namespace}~${namespace}.svc.cluster.local`;
}

/** Id of a replica of a waypoint: `waypoint~<ip>~<pod>.<namespace>~<domain>`. */
export function waypointNodeId(parts: { ip: string; pod: string; namespace: string }): string {
  return tunnelNodeId(parts).replace('ztunnel', 'waypoint');
}

/** Refuses a node whose id has another shape, or that claims another account than the caller was proven to be. */
export function checkNode(
  info: NodeInfo | undefined,
  caller: { readonly namespace: string; readonly serviceAccount: string },
): NodeCheck {
  if (!info) return invalid('missing node information');
  if (info.id.length > MAX_ID_LENGTH) return invalid('node id is too long');
  const parts = info.id.split('~');
  const [type, ip = '', pod = ''] = parts;
  if (parts.length !== 4) return invalid('node id has not 4 parts');
  if (type !== 'ztunnel' && type !== 'waypoint') return invalid(`node type ${type} is not served`);
  if (!ipBytes(ip)) return invalid('node id has no valid IP address');
  const dot = pod.lastIndexOf('.');
  const claimed = info.metadata.NAMESPACE;
  const namespace = typeof claimed === 'string' && claimed !== '' ? claimed : pod.slice(dot + 1);
  const account = info.metadata.SERVICE_ACCOUNT;
  if (namespace !== caller.namespace || (typeof account === 'string' && account !== caller.serviceAccount)) {
    const claims = `${namespace}/${typeof account === 'string' ? account : '*'}`;
    const message = `node claims to be ${claims}, the caller is ${caller.namespace}/${caller.serviceAccount}`;
    return { ok: false, kind: 'denied', message };
  }
  const nodeName = info.metadata.NODE_NAME;
  const gatewayName = info.metadata.GATEWAY_NAME;
  const isNamed = typeof gatewayName === 'string' && gatewayName !== '';
  if (type === 'waypoint' && !isNamed) return invalid('a waypoint has no GATEWAY_NAME');
  const podName = dot < 0 ? pod : pod.slice(0, dot);
  return {
    ok: true,
    node: {
      id: info.id,
      podName,
      namespace,
      nodeName: typeof nodeName === 'string' ? nodeName : '',
      ...(type === 'waypoint' ? { gateway: `${namespace}/${gatewayName}` } : {}),
    },
  };
}

function invalid(message: string): NodeCheck {
  return { ok: false, kind: 'invalid', message };
}
