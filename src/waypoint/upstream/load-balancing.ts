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
  /** Of the request, for consistent hashing; undefined when it has none of what is hashed. */
  readonly hash: number | undefined;
}

/** Undefined when there is none with a weight. */
export function pickEndpoint(
  endpoints: readonly EndpointRuntime[],
  { algorithm }: Pick<LoadBalancer, 'algorithm'>,
  context: PickContext,
): EndpointRuntime | undefined {
  if (endpoints.length <= 1) return endpoints[0];
  switch (algorithm) {
    case 'ROUND_ROBIN':
      return endpoints[context.turn % endpoints.length];
    case 'RANDOM':
      return byWeight(endpoints, context.random);
    default:
      return leastRequest(endpoints, context);
  }
}

/** The less busy of two at random, by requests under way for their weight. */
function leastRequest(endpoints: readonly EndpointRuntime[], { random }: PickContext): EndpointRuntime | undefined {
  const first = endpoints[Math.floor(random() * endpoints.length)];
  const second = endpoints[Math.floor(random() * endpoints.length)];
  if (!first || !second) return first ?? second;
  return busyness(second) < busyness(first) ? second : first;
}

function busyness({ active, endpoint }: EndpointRuntime): number {
  return (active + 1) / Math.max(1, endpoint.weight);
}

function byWeight(endpoints: readonly EndpointRuntime[], random: () => number): EndpointRuntime | undefined {
  let total = 0;
  for (const { endpoint } of endpoints) total += endpoint.weight;
  let rest = random() * total;
  for (const one of endpoints) {
    rest -= one.endpoint.weight;
    if (rest < 0) return one;
  }
  return endpoints.at(-1);
}
