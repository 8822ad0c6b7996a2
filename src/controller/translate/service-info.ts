/** A service as its translators hand it on: what is sent, and what is needed to find its endpoints. */
import type { Service } from '../../model/service.ts';
import type { PortMap } from '../../model/workload.ts';
import type { StatusPatch } from '../ir.ts';
import type { Labels } from './selector.ts';

export interface EndpointPort {
  readonly name: string;
  readonly port: number;
  /** A number, a container port's name, or undefined: the service port itself. */
  readonly targetPort: number | string | undefined;
}

export interface ServiceInfo {
  readonly key: string;
  readonly origin: 'Service' | 'ServiceEntry';
  readonly service: Service;
  /** Undefined: endpoints are listed, not selected. */
  readonly selector: Labels | undefined;
  readonly ports: readonly EndpointPort[];
  /** Key of the waypoint that clients are told of. */
  readonly waypoint: string | undefined;
  /** Keys of the waypoints that it asks for and may use, ready or not. */
  readonly wanted: readonly string[];
  /** Its endpoints take only what came through its waypoint. */
  readonly requiresWaypoint?: boolean;
  /** Of a ServiceEntry. */
  readonly resolution?: 'STATIC' | 'DNS' | 'DYNAMIC_DNS' | 'NONE';
  readonly location?: 'MESH_INTERNAL' | 'MESH_EXTERNAL';
  readonly status: StatusPatch | undefined;
}

/** The ports of a WorkloadEntry (or inline endpoint), by name, for a service. */
export function entryPorts({ origin, ports }: ServiceInfo, own: Readonly<Record<string, number>>): PortMap {
  const result = new Map<number, number>();
  const ownPort = (name: string): number | undefined => (Object.hasOwn(own, name) ? own[name] : undefined);
  for (const { name, port, targetPort } of ports) {
    const named = typeof targetPort === 'string' ? ownPort(targetPort) : undefined;
    if (origin === 'Service' && typeof targetPort === 'string') {
      if (named !== undefined) result.set(port, named);
    } else {
      result.set(port, ownPort(name) ?? (typeof targetPort === 'number' ? targetPort : port));
    }
  }
  return result;
}
