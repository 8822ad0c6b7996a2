/**
 * Status of the Gateways that this control plane runs. Addresses appear with the first ready endpoint of the Gateway's
 * Service, and never go: an empty waypoint refuses its clients, it does not let them pass by.
 * Source: Gateway API, Istio control plane (conditions and texts).
 */

import type { ConditionValue, StatusPatch } from '../../ir.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { type Gateway, type KubeService, namespaceOf, type Pod } from '../../resources.ts';
import { GATEWAY_NAME } from '../waypoint.ts';
import type { ServedGateway } from './served-gateways.ts';

export interface GatewayParts {
  /** The Service of the Gateway's name. */
  readonly service: KubeService | undefined;
  readonly hasReadyEndpoint: boolean;
  /** Routes that are attached, by listener; a waypoint's belong to its one listener. */
  readonly attachedRoutes: number;
  readonly settings: MeshSettings;
}

const ADDRESS_TYPE = 'networking.istio.io/address-type';

export function servedGatewayStatus({ gateway }: ServedGateway, parts: GatewayParts): StatusPatch {
  const addresses = gatewayAddresses(gateway, parts);
  const kept = gateway.status?.addresses ?? [];
  const shown = addresses.length > 0 ? addresses : kept;
  const listeners = (gateway.spec.listeners ?? []).map((listener) => {
    const served = listener.protocol === 'HBONE';
    const attachedRoutes = served ? parts.attachedRoutes : 0;
    return { name: listener.name, attachedRoutes, supportedKinds: [], conditions: listenerConditions(gateway, served) };
  });
  const invalid = (gateway.spec.listeners ?? []).some(({ protocol }) => protocol !== 'HBONE');
  return {
    kind: { group: 'gateway.networking.k8s.io', kind: 'Gateway' },
    key: { namespace: namespaceOf(gateway), name: gateway.metadata.name },
    conditions: [accepted(invalid), programmed(gateway, parts, shown.length > 0)],
    fields: { listeners, ...(shown.length > 0 ? { addresses: shown } : {}) },
  };
}

/** Whether a pod is a ready replica of the gateway. */
export function isReadyReplica({ metadata, status }: Pod): boolean {
  if (metadata.labels?.[GATEWAY_NAME] === undefined || metadata.deletionTimestamp !== undefined) return false;
  return (status?.conditions ?? []).some(({ type, status: value }) => type === 'Ready' && value === 'True');
}

function gatewayAddresses(gateway: Gateway, { service, hasReadyEndpoint, settings }: GatewayParts) {
  if (!service || !hasReadyEndpoint) return [];
  const wanted = gateway.metadata.annotations?.[ADDRESS_TYPE];
  const { clusterIP, clusterIPs } = service.spec ?? {};
  const ips = clusterIPs && clusterIPs.length > 0 ? clusterIPs : clusterIP === undefined ? [] : [clusterIP];
  const value = `${service.metadata.name}.${namespaceOf(gateway)}.svc.${settings.clusterDomain}`;
  return [
    ...(wanted === 'Hostname' ? [] : ips.map((ip) => ({ type: 'IPAddress', value: ip }))),
    ...(wanted === 'IPAddress' ? [] : [{ type: 'Hostname', value }]),
  ];
}

function accepted(invalid: boolean): ConditionValue {
  if (invalid) {
    const message = 'a waypoint serves listeners of protocol HBONE only';
    return { type: 'Accepted', status: 'True', reason: 'ListenersNotValid', message };
  }
  return { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Resource accepted' };
}

function programmed(gateway: Gateway, { service }: GatewayParts, hasAddress: boolean): ConditionValue {
  const type = 'Programmed';
  const { name } = gateway.metadata;
  const at = `${name}.${namespaceOf(gateway)}.svc:${gateway.spec.listeners?.[0]?.port ?? 0}`;
  if (hasAddress) {
    const message = `Resource programmed, assigned to service(s) ${at}`;
    return { type, status: 'True', reason: 'Programmed', message };
  }
  if (!service) {
    const message = `Failed to assign to any requested addresses: no Service ${namespaceOf(gateway)}/${name}`;
    return { type, status: 'False', reason: 'AddressNotUsable', message };
  }
  const message = `Assigned to service(s) ${at}, but none of its endpoints is ready yet`;
  return { type, status: 'False', reason: 'AddressNotAssigned', message };
}

function listenerConditions(gateway: Gateway, served: boolean) {
  const { generation } = gateway.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const condition = (type: string, status: 'True' | 'False', reason: string, message: string) => ({
    ...{ type, status, reason, message },
    ...observed,
  });
  if (!served) {
    return [
      condition('Accepted', 'False', 'UnsupportedProtocol', 'a waypoint serves HBONE only'),
      condition('Programmed', 'False', 'Invalid', 'the listener is not accepted'),
    ];
  }
  return [
    condition('Accepted', 'True', 'Accepted', 'No errors found'),
    condition('Programmed', 'True', 'Programmed', 'No errors found'),
    condition('Conflicted', 'False', 'NoConflicts', 'No errors found'),
    condition('ResolvedRefs', 'True', 'ResolvedRefs', 'No errors found'),
  ];
}
