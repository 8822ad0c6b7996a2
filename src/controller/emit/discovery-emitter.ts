/**
 * IR to the resources of the discovery server. Only what is another value than last time is looked at and encoded, and
 * only what encodes to other bytes is pushed.
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { authorizationKey } from '../../model/authorization.ts';
import { serviceKey } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  authorizationResource,
  type Commit,
  type ResourceInput,
  type ResourceStore,
  serviceResource,
  workloadResource,
} from '../../xds/index.ts';
import type { MeshIR } from '../ir.ts';
import { type Emission, gatewayEmissions } from './gateway-emission.ts';

/** A list of values that become resources of one type. */
interface Group {
  readonly typeUrl: string;
  readonly values: readonly object[];
  readonly nameOf: (value: never) => string;
  readonly encode: (value: never) => ResourceInput;
}

interface Sent {
  readonly typeUrl: string;
  readonly values: readonly object[];
  readonly byName: ReadonlyMap<string, object>;
}

export class DiscoveryEmitter {
  readonly #store: ResourceStore;
  readonly #log: Logger;
  readonly #named = new Map<string, Map<string, object>>();
  #sent = new Map<string, Sent>();

  constructor(store: ResourceStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** Puts the IR in force in one commit; answers what really changed. */
  emit({ workloadGroups, services, policies, gateways }: MeshIR): Commit {
    const groups = new Map<string, Group>();
    for (const [key, values] of workloadGroups) {
      groups.set(`workloads ${key}`, { typeUrl: ADDRESS_TYPE, values, nameOf: uidOf, encode: workloadResource });
    }
    groups.set('services', { typeUrl: ADDRESS_TYPE, values: services, nameOf: serviceKey, encode: serviceResource });
    const authorization = { nameOf: authorizationKey, encode: authorizationResource };
    groups.set('policies', { typeUrl: AUTHORIZATION_TYPE, values: policies, ...authorization });
    const sent = new Map<string, Sent>();
    for (const [key, group] of groups) sent.set(key, this.#stage(this.#sent.get(key), group));
    for (const [key, { typeUrl, byName }] of this.#sent) {
      if (!sent.has(key)) for (const name of byName.keys()) this.#store.delete(typeUrl, name);
    }
    this.#sent = sent;
    for (const [typeUrl, wanted] of gatewayEmissions(gateways)) this.#stageNamed(typeUrl, wanted);
    return this.#store.commit();
  }

  #stageNamed(typeUrl: string, wanted: ReadonlyMap<string, Emission>): void {
    const before = this.#named.get(typeUrl) ?? new Map<string, object>();
    const now = new Map<string, object>();
    for (const [name, [value, encode]] of wanted) {
      now.set(name, value);
      if (before.get(name) !== value) this.#set(typeUrl, name, encode);
    }
    for (const name of before.keys()) if (!wanted.has(name)) this.#store.delete(typeUrl, name);
    this.#named.set(typeUrl, now);
  }

  #set(typeUrl: string, name: string, encode: () => ResourceInput): void {
    try {
      this.#store.set(typeUrl, encode());
    } catch (error) {
      // A value that cannot be encoded keeps its last good resource; the others go on.
      this.#log.error('resource not encoded', { name, error: errorMessage(error) });
    }
  }

  #stage(before: Sent | undefined, { typeUrl, values, nameOf, encode }: Group): Sent {
    if (before?.values === values) return before;
    const byName = new Map<string, object>();
    for (const value of values) {
      const name = nameOf(value as never); // a group's functions take its values
      byName.set(name, value);
      if (before?.byName.get(name) !== value) this.#set(typeUrl, name, () => encode(value as never));
    }
    for (const name of before?.byName.keys() ?? []) if (!byName.has(name)) this.#store.delete(typeUrl, name);
    return { typeUrl, values, byName };
  }
}

function uidOf({ uid }: Workload): string {
  return uid;
}
