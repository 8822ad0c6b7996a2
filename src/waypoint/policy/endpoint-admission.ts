/**
 * Policies that select the endpoint a request was given: asked after the choice, against the client's identity and the
 * endpoint's own address and port. Compiled once for each list of policies, until the configuration changes.
 */
import type { Exchange } from '../http/exchange.ts';
import type { Reply } from '../http/reply.ts';
import type { ConfigView } from '../state/config-view.ts';
import type { EndpointRuntime } from '../upstream/endpoint-runtime.ts';
import { askProviders, decide, type GuardDeps } from './guard.ts';
import { type PolicyRequest, requestOf } from './policy-request.ts';
import { PolicySet } from './policy-set.ts';

export interface EndpointAdmission {
  /** Undefined: go on. */
  request(exchange: Exchange, endpoint: EndpointRuntime, port: number): Reply | undefined | Promise<Reply | undefined>;
  /** Whether a connection whose bytes are not looked into may go there. */
  connection(request: PolicyRequest, policies: readonly string[]): boolean;
}

export class PolicyAdmission implements EndpointAdmission {
  readonly #config: ConfigView;
  readonly #guard: Omit<GuardDeps, 'providers'>;
  readonly #sets = new Map<string, PolicySet | undefined>();

  constructor(config: ConfigView, guard: Omit<GuardDeps, 'providers'>) {
    this.#config = config;
    this.#guard = guard;
  }

  /** Policies have changed. */
  forget(): void {
    this.#sets.clear();
  }

  request(exchange: Exchange, { endpoint }: EndpointRuntime, port: number) {
    const { policies, addresses } = endpoint;
    if (policies.length === 0) return undefined;
    const set = this.#setOf(policies);
    if (!set) return undefined;
    const { gateway } = this.#config;
    const request = requestOf(exchange, gateway?.trustedProxies ?? 0, { ip: addresses[0] ?? '', port });
    const deps = { ...this.#guard, providers: gateway?.authorizationProviders ?? [] };
    const asked = askProviders(set, request, { exchange, deps });
    if (!asked) return decide(set, request, deps);
    return asked.then((reply) => reply ?? decide(set, request, deps));
  }

  connection(request: PolicyRequest, policies: readonly string[]): boolean {
    const set = policies.length > 0 ? this.#setOf(policies) : undefined;
    if (!set) return true;
    // A provider that answers about requests cannot be asked about a connection.
    if (set.customFor(request).length > 0) return false;
    return set.decide(request).allowed;
  }

  #setOf(policies: readonly string[]): PolicySet | undefined {
    const key = policies.join(' ');
    if (this.#sets.has(key)) return this.#sets.get(key);
    const set = PolicySet.of(policies, (one) => this.#config.findAuthorization(one), this.#guard.log);
    this.#sets.set(key, set);
    return set;
  }
}
