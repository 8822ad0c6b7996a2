/** Keeps a Deployment and a Service for every waypoint there is, and removes them with their Gateway. */
import type { Logger } from '../core/logger.ts';
import type { GroupKind, Informer } from '../kube/index.ts';
import { type ClusterApi, keyOf } from './cluster-api.ts';
import { type Gateway, isManaged, isUpToDate, waypointObjects } from './gateway-plan.ts';
import { type Container, DEPLOYMENT, SERVICE } from './kinds.ts';
import { ReconcileLoop } from './reconcile-loop.ts';

export const GATEWAY: GroupKind = { group: 'gateway.networking.k8s.io', kind: 'Gateway' };

export interface GatewayLoopDeps {
  readonly api: ClusterApi;
  readonly log: Logger;
  /** How a waypoint is run. */
  readonly container: Pick<Container, 'command' | 'env'>;
}

export class GatewayLoop implements AsyncDisposable {
  readonly #deps: GatewayLoopDeps;
  readonly #gateways: Informer<Gateway>;
  readonly #loop: ReconcileLoop;
  readonly #subscription: Disposable;

  constructor(deps: GatewayLoopDeps) {
    this.#deps = deps;
    this.#gateways = deps.api.informer<Gateway>(GATEWAY);
    this.#loop = new ReconcileLoop('gateways', deps.log, () => this.#reconcile());
    this.#subscription = this.#gateways.subscribe(() => this.#loop.kick());
    this.#loop.kick();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    await this.#loop[Symbol.asyncDispose]();
  }

  async #reconcile(): Promise<void> {
    const { api, container } = this.#deps;
    const wanted = new Set<string>();
    for (const gateway of this.#gateways.list()) {
      const objects = waypointObjects(gateway, container);
      if (!objects) continue;
      const { deployment, service } = objects;
      const key = keyOf(deployment);
      wanted.add(`${key.namespace}/${key.name}`);
      const present = api.deployments.get(key);
      if (present && !isManaged(present)) continue; // somebody else's of that name
      if (!isUpToDate(present, deployment)) {
        const replicas = present?.spec.replicas ?? deployment.spec.replicas ?? 1;
        await api.apply(DEPLOYMENT, { ...deployment, spec: { ...deployment.spec, replicas } } as typeof deployment);
      }
      if (!api.services.get(key)) await api.apply(SERVICE, service);
    }
    const isGone = ({ namespace, name }: { namespace: string; name: string }) => !wanted.has(`${namespace}/${name}`);
    for (const one of api.deployments.list()) {
      if (isManaged(one) && isGone(keyOf(one))) await api.remove(DEPLOYMENT, keyOf(one));
    }
    for (const one of api.services.list()) {
      if (isManaged(one) && isGone(keyOf(one))) await api.remove(SERVICE, keyOf(one));
    }
  }
}
