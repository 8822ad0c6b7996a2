/** The snapshot of resources over a watch provider, and one call for every burst of changes. */
import type { GroupKind, Informer, KubeObject, KubeSource, RefusedObject } from '../kube/index.ts';
import type { NamespacedName } from '../model/address.ts';
import { KINDS } from '../schema/index.ts';
import type { Pod, Resources } from './resources.ts';
import { PodGroups } from './translate/pod-groups.ts';

const core = (kind: string): GroupKind => ({ group: '', kind });
const istio = (kind: string): GroupKind => ({ group: 'networking.istio.io', kind });
const security = (kind: string): GroupKind => ({ group: 'security.istio.io', kind });
const gatewayApi = (kind: string): GroupKind => ({ group: 'gateway.networking.k8s.io', kind });

const SERVED = {
  namespaces: core('Namespace'),
  nodes: core('Node'),
  pods: core('Pod'),
  services: core('Service'),
  secrets: core('Secret'),
  endpointSlices: { group: 'discovery.k8s.io', kind: 'EndpointSlice' },
  workloadEntries: istio('WorkloadEntry'),
  serviceEntries: istio('ServiceEntry'),
  authorizationPolicies: security('AuthorizationPolicy'),
  requestAuthentications: security('RequestAuthentication'),
  rateLimitPolicies: { group: 'culvert.dev', kind: 'RateLimitPolicy' },
  telemetries: { group: 'telemetry.istio.io', kind: 'Telemetry' },
  configMaps: core('ConfigMap'),
  operators: { group: 'install.istio.io', kind: 'IstioOperator' },
  peerAuthentications: security('PeerAuthentication'),
  gateways: gatewayApi('Gateway'),
  gatewayClasses: gatewayApi('GatewayClass'),
  httpRoutes: gatewayApi('HTTPRoute'),
  grpcRoutes: gatewayApi('GRPCRoute'),
  tcpRoutes: gatewayApi('TCPRoute'),
  tlsRoutes: gatewayApi('TLSRoute'),
  referenceGrants: gatewayApi('ReferenceGrant'),
  virtualServices: istio('VirtualService'),
  destinationRules: istio('DestinationRule'),
} as const satisfies Record<Exclude<keyof Resources, 'notServed' | 'refusedPolicies' | 'podGroups'>, GroupKind>;

type Served = keyof typeof SERVED;
/** Kinds whose absence opens what they guard. */
const GUARDING = ['authorizationPolicies', 'peerAuthentications'] as const satisfies readonly Served[];

export class ResourceWatch implements Disposable {
  readonly #source: KubeSource;
  readonly #informers = new Map<Served, Informer<KubeObject>>();
  readonly #notServed: readonly Informer<KubeObject>[];
  readonly #podGroups = new PodGroups();
  readonly #subscriptions: Disposable[] = [];

  constructor(source: KubeSource) {
    this.#source = source;
    for (const [name, kind] of Object.entries(SERVED)) this.#informers.set(name as Served, source.informer(kind));
    const others = KINDS.filter(({ serving }) => serving === 'not-served');
    this.#notServed = others.map((kind) => source.informer(kind));
    const pods = source.informer<Pod>(SERVED.pods);
    this.#subscriptions.push(pods.subscribe((key) => this.#podGroups.update(key, pods.get(key))));
  }

  /** Resolves when every kind has been listed once. */
  async synced(): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer.synced));
  }

  snapshot(): Resources {
    const lists = Object.fromEntries([...this.#informers].map(([name, informer]) => [name, informer.list()]));
    const notServed = this.#notServed.flatMap((informer) => informer.list());
    const refusedPolicies = GUARDING.flatMap((name) => this.#informers.get(name)?.refused() ?? []);
    // The check of the provider has refused objects of another shape.
    return { ...lists, podGroups: this.#podGroups.list(), notServed, refusedPolicies } as unknown as Resources;
  }

  informer<T extends KubeObject>(kind: GroupKind): Informer<T> {
    return this.#source.informer<T>(kind);
  }

  /** An object of a kind, also one that was refused and has no good version. */
  find(kind: GroupKind, key: NamespacedName): KubeObject | undefined {
    const informer = this.informer(kind);
    const isIt = ({ object: { metadata } }: RefusedObject) =>
      metadata.name === key.name && (metadata.namespace ?? '') === key.namespace;
    return informer.get(key) ?? informer.refused().find(isIt)?.object;
  }

  /** Calls back once per burst of changes, never inside the provider's own call. */
  onChange(listener: () => void): void {
    let scheduled = false;
    const schedule = () => {
      if (scheduled) return;
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        listener();
      });
    };
    for (const informer of this.#all()) this.#subscriptions.push(informer.subscribe(schedule));
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
  }

  #all(): readonly Informer<KubeObject>[] {
    return [...this.#informers.values(), ...this.#notServed];
  }
}
