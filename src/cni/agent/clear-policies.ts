/** The policies that connections in clear are judged by, as they are now. */
import type { GroupKind, Informer, KubeSource } from '../../kube/index.ts';
import {
  type AuthorizationPolicy,
  findClearFault,
  mayForbidClear,
  type PeerAuthentication,
  type PolicySet,
} from './clear-policy.ts';
import type { EnrolledPod } from './enrolled-pods.ts';
import type { Pod } from './pod.ts';
import type { ClearConnection } from './socket-table.ts';

const GROUP = 'security.istio.io';
const PEER_AUTHENTICATION: GroupKind = { group: GROUP, kind: 'PeerAuthentication' };
const AUTHORIZATION_POLICY: GroupKind = { group: GROUP, kind: 'AuthorizationPolicy' };

export class ClearPolicies {
  readonly #peerAuthentications: Informer<PeerAuthentication>;
  readonly #authorizationPolicies: Informer<AuthorizationPolicy>;
  readonly #pods: Informer<Pod>;
  readonly #rootNamespace: string;

  constructor(source: KubeSource, pods: Informer<Pod>, rootNamespace: string) {
    this.#peerAuthentications = source.informer<PeerAuthentication>(PEER_AUTHENTICATION);
    this.#authorizationPolicies = source.informer<AuthorizationPolicy>(AUTHORIZATION_POLICY);
    this.#pods = pods;
    this.#rootNamespace = rootNamespace;
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.#peerAuthentications.synced, this.#authorizationPolicies.synced]);
  }

  /** Calls back when a policy may have changed. */
  subscribe(listener: () => void): Disposable {
    const subscriptions = [
      this.#peerAuthentications.subscribe(listener),
      this.#authorizationPolicies.subscribe(listener),
    ];
    return {
      [Symbol.dispose]() {
        for (const subscription of subscriptions) subscription[Symbol.dispose]();
      },
    };
  }

  /** Undefined when no policy forbids anything in clear to this pod. Only what comes in is judged. */
  judge({ key }: EnrolledPod): ((connection: ClearConnection) => string | undefined) | undefined {
    const receiver = { namespace: key.namespace, labels: this.#pods.get(key)?.metadata.labels ?? {} };
    const policies: PolicySet = {
      peerAuthentications: this.#peerAuthentications.list(),
      authorizationPolicies: this.#authorizationPolicies.list(),
      refused: [...this.#peerAuthentications.refused(), ...this.#authorizationPolicies.refused()].map(
        ({ object }) => object,
      ),
      rootNamespace: this.#rootNamespace,
    };
    if (!mayForbidClear(policies, receiver)) return undefined;
    return ({ direction, local, remote }) =>
      direction === 'inbound'
        ? findClearFault(policies, receiver, { sourceIp: remote.ip, destinationIp: local.ip, port: local.port })
        : undefined;
  }
}
