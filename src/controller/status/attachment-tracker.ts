/**
 * Which gateways have taken what they need for which objects, from the acknowledgements of their replicas. What was
 * attached once stays so for as long as the object asks for that gateway: a replica that is gone or new changes nothing.
 */
import type { ResourceStore, SubscriberStatus } from '../../xds/index.ts';
import { BOUND_SERVICE_TYPE, WAYPOINT_TYPES } from '../../xds/index.ts';
import { boundServiceName } from '../emit/gateway-emission.ts';
import type { BoundObject, GatewayResources } from '../gateway-ir.ts';

export class AttachmentTracker {
  #attached: ReadonlyMap<string, readonly string[]> = new Map();
  /** Generation of the store in which a bound service was first there. */
  readonly #since = new Map<string, number>();

  /** Answers what it answered before when nothing changed. */
  get attachments(): ReadonlyMap<string, readonly string[]> {
    return this.#attached;
  }

  /** After a commit: remembers since when the store has each bound service. */
  committed(gateways: readonly GatewayResources[], store: Pick<ResourceStore, 'find' | 'generation'>): void {
    const present = new Set<string>();
    for (const { gateway, services } of gateways) {
      for (const service of services) {
        const name = boundServiceName(gateway, service);
        if (!store.find(BOUND_SERVICE_TYPE, name)) continue; // it could not be encoded
        present.add(name);
        if (!this.#since.has(name)) this.#since.set(name, store.generation);
      }
    }
    for (const name of this.#since.keys()) if (!present.has(name)) this.#since.delete(name);
  }

  /**
   * True when something was attached or detached. `elsewhere`: what other replicas of the control plane have attached,
   * whose subscribers are not ours: all replicas have to tell clients the same.
   */
  update(
    objects: readonly BoundObject[],
    subscribers: readonly SubscriberStatus[],
    elsewhere: readonly Readonly<Record<string, readonly string[]>>[] = [],
  ): boolean {
    const taken = generationsTaken(subscribers);
    const attached = new Map<string, readonly string[]>();
    let changed = false;
    for (const object of objects) {
      const before = this.#attached.get(object.key) ?? [];
      const now = object.wanted.filter(
        (gateway) =>
          before.includes(gateway) ||
          elsewhere.some((attached) => attached[object.key]?.includes(gateway)) ||
          this.#isTaken(gateway, object, taken.get(gateway)),
      );
      const same = now.length === before.length && now.every((gateway, index) => gateway === before[index]);
      if (!same) changed = true;
      if (now.length > 0) attached.set(object.key, same ? before : now);
    }
    for (const key of this.#attached.keys()) if (!attached.has(key)) changed = true;
    if (changed) this.#attached = attached;
    return changed;
  }

  #isTaken(gateway: string, { namespace, hostnames }: BoundObject, taken: number | undefined): boolean {
    return hostnames.every((hostname) => {
      const since = this.#since.get(boundServiceName(gateway, { namespace, hostname }));
      return since !== undefined && taken !== undefined && taken >= since;
    });
  }
}

/** By gateway: the newest generation that every connected replica has of every type. */
function generationsTaken(subscribers: readonly SubscriberStatus[]): ReadonlyMap<string, number> {
  const taken = new Map<string, number>();
  for (const { node, types } of subscribers) {
    if (node.gateway === undefined) continue;
    const own = Math.min(
      ...WAYPOINT_TYPES.map((type) => types.find(({ typeUrl }) => typeUrl === type)?.syncedGeneration ?? -1),
    );
    taken.set(node.gateway, Math.min(own, taken.get(node.gateway) ?? own));
  }
  return taken;
}
