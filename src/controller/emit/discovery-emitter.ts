/**
 * IR to the resources of the discovery server. Only what is another value than last time is encoded, and only what
 * encodes to other bytes is pushed.
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { authorizationKey } from '../../model/authorization.ts';
import { serviceKey } from '../../model/service.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  authorizationResource,
  type Commit,
  type ResourceStore,
  serviceResource,
  workloadResource,
} from '../../xds/index.ts';
import type { MeshIR } from '../ir.ts';
import { type Emission, gatewayEmissions } from './gateway-emission.ts';

export class DiscoveryEmitter {
  readonly #store: ResourceStore;
  readonly #log: Logger;
  readonly #sent = new Map<string, Map<string, object>>();

  constructor(store: ResourceStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** Puts the IR in force in one commit; answers what really changed. */
  emit({ workloads, services, policies, gateways }: MeshIR): Commit {
    const addresses = new Map<string, Emission>();
    for (const workload of workloads) addresses.set(workload.uid, [workload, () => workloadResource(workload)]);
    for (const service of services) addresses.set(serviceKey(service), [service, () => serviceResource(service)]);
    this.#stage(ADDRESS_TYPE, addresses);
    const authorizations = new Map<string, Emission>();
    for (const policy of policies) {
      authorizations.set(authorizationKey(policy), [policy, () => authorizationResource(policy)]);
    }
    this.#stage(AUTHORIZATION_TYPE, authorizations);
    for (const [typeUrl, wanted] of gatewayEmissions(gateways)) this.#stage(typeUrl, wanted);
    return this.#store.commit();
  }

  #stage(typeUrl: string, wanted: ReadonlyMap<string, Emission>): void {
    const before = this.#sent.get(typeUrl) ?? new Map<string, object>();
    const now = new Map<string, object>();
    for (const [name, [value, encode]] of wanted) {
      now.set(name, value);
      if (before.get(name) === value) continue;
      try {
        this.#store.set(typeUrl, encode());
      } catch (error) {
        // A value that cannot be encoded keeps its last good resource; the others go on.
        this.#log.error('resource not encoded', { name, error: errorMessage(error) });
      }
    }
    for (const name of before.keys()) if (!wanted.has(name)) this.#store.delete(typeUrl, name);
    this.#sent.set(typeUrl, now);
  }
}
