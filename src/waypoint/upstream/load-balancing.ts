/**
 * Which endpoint takes a request. One function for each algorithm: pure but for the endpoints' own counters, with
 * randomness passed in.
 */
import type { LoadBalancer } from '../../model/l7/index.ts';
import type { EndpointRuntime } from './endpoint-runtime.ts';

export interface PickContext {
  /** In [0, 1), a new one each call. */
  readonly random: () => number;
  /** Counts up with every pick of the cluster. */
  readonly turn: number;
  readonly nowMs: number;
}

/** Undefined when there is none with a weight. */
export function pickEndpoint(
  endpoints: readonly EndpointRuntime[],
  { algorithm, slowStart }: Pick<LoadBalancer, 'algorithm' | 'slowStart'>,
  context: PickContext,
): EndpointRuntime | undefined {
  if (endpoints.length <= 1) return endpoints[0];
  switch (algorithm) {
    case 'ROUND_ROBIN':
      return endpoints[context.turn % endpoints.length];
    case 'RANDOM':
      return byWeight(endpoints, (one) => shareOf(one, slowStart, context.nowMs), context.random);
    default:
      return leastRequest(endpoints, (one) => shareOf(one, slowStart, context.nowMs), context);
  }
}

/** The less busy of two at random, by requests under way for their weight. */
function leastRequest(
  endpoints: readonly EndpointRuntime[],
  share: Share,
  { random }: PickContext,
): EndpointRuntime | undefined {
  const first = endpoints[Math.floor(random() * endpoints.length)];
  const second = endpoints[Math.floor(random() * endpoints.length)];
  if (!first || !second) return first ?? second;
  return (second.active + 1) / share(second) < (first.active + 1) / share(first) ? second : first;
}

type Share = (endpoint: EndpointRuntime) => number;

/** Its weight; of a new endpoint a part of it that grows. Source: Envoy slow start. */
export function shareOf(
  { endpoint, sinceMs }: Pick<EndpointRuntime, 'endpoint' | 'sinceMs'>,
  slowStart: LoadBalancer['slowStart'],
  nowMs: number,
): number {
  const weight = Math.max(1, endpoint.weight);
  if (!slowStart || nowMs - sinceMs >= slowStart.windowMs) return weight;
  const grown = Math.max(0, (nowMs - sinceMs) / slowStart.windowMs) ** (1 / slowStart.aggression);
  return weight * Math.max(slowStart.minPercent / 100, grown);
}

function byWeight(
  endpoints: readonly EndpointRuntime[],
  share: Share,
  random: () => number,
): EndpointRuntime | undefined {
  let total = 0;
  for (const one of endpoints) total += share(one);
  let rest = random() * total;
  for (const one of endpoints) {
    rest -= share(one);
    if (rest < 0) return one;
  }
  return endpoints.at(-1);
}
