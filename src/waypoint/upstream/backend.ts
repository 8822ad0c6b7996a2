/** Which backend of a route a request takes, and how it is spoken to. Pure. */
import type { TrafficPolicy, WeightedBackend } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { UpstreamProtocol } from './endpoint-runtime.ts';

/** By weight. @param random in [0, 1) */
export function pickBackend(backends: readonly WeightedBackend[], random: () => number): WeightedBackend | undefined {
  if (backends.length === 1) return backends[0]?.weight === 0 ? undefined : backends[0];
  let total = 0;
  for (const { weight } of backends) total += weight;
  let rest = random() * total;
  for (const backend of backends) {
    rest -= backend.weight;
    if (rest < 0) return backend;
  }
  return undefined;
}

/** Whose connection it is, for the PROXY protocol. */
export function proxied({ ip, port, destinationIp, destinationPort }: Exchange['client']) {
  return { sourceIp: ip, sourcePort: port, destinationIp, destinationPort };
}

/** HTTP/2 where the port says so, or where the port says nothing and the client speaks it. */
export function upstreamProtocol(
  { port, policy }: { readonly port: { readonly protocol: string }; readonly policy: TrafficPolicy },
  client: 'HTTP/1.1' | 'HTTP/2',
  isGrpc: boolean,
): UpstreamProtocol {
  if (port.protocol === 'HTTP2' || port.protocol === 'GRPC') return 'HTTP2';
  const { upgrade } = policy.connectionPool;
  if (upgrade === 'HTTP2') return 'HTTP2';
  if (client === 'HTTP/2' && (upgrade === 'CLIENT' || port.protocol === 'UNKNOWN' || isGrpc)) return 'HTTP2';
  return 'HTTP1';
}
