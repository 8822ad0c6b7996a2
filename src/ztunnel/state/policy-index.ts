/** Policies by key and by namespace. A policy is in exactly one bucket, that of its present scope. */
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import type { ApplicablePolicies } from '../../model/authorize.ts';
import type { Workload } from '../../model/workload.ts';

/** The bucket of GLOBAL policies. */
const GLOBAL = '';

export class PolicyIndex {
  readonly #byKey = new Map<string, Authorization>();
  readonly #buckets = new Map<string, Set<string>>();

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<Authorization> {
    return this.#byKey.values();
  }

  find(key: string): Authorization | undefined {
    return this.#byKey.get(key);
  }

  insert(policy: Authorization): void {
    const key = authorizationKey(policy);
    this.remove(key);
    this.#byKey.set(key, policy);
    const bucket = bucketOf(policy);
    if (bucket === undefined) return;
    const keys = this.#buckets.get(bucket) ?? new Set<string>();
    keys.add(key);
    this.#buckets.set(bucket, keys);
  }

  remove(key: string): Authorization | undefined {
    const policy = this.#byKey.get(key);
    if (!policy) return undefined;
    this.#byKey.delete(key);
    const bucket = bucketOf(policy);
    if (bucket !== undefined) {
      const keys = this.#buckets.get(bucket);
      keys?.delete(key);
      if (keys?.size === 0) this.#buckets.delete(bucket);
    }
    return policy;
  }

  /** NAMESPACE policies of the workload's namespace, GLOBAL ones, and those the workload lists, each once. */
  applicableTo(workload: Pick<Workload, 'namespace' | 'authorizationPolicies'>): ApplicablePolicies {
    const keys = new Set([
      ...(this.#buckets.get(workload.namespace) ?? []),
      ...(this.#buckets.get(GLOBAL) ?? []),
      ...workload.authorizationPolicies,
    ]);
    const policies: Authorization[] = [];
    const unknown: string[] = [];
    for (const key of keys) {
      const policy = this.#byKey.get(key);
      if (policy) policies.push(policy);
      else unknown.push(key);
    }
    return { policies, unknown };
  }
}

function bucketOf({ scope, namespace }: Authorization): string | undefined {
  if (scope === 'GLOBAL') return GLOBAL;
  return scope === 'NAMESPACE' ? namespace : undefined;
}
