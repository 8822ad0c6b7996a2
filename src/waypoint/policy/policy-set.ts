/**
 * The policies that hold at one place, compiled: a service port, or an endpoint.
 *
 * Order: AUDIT notes, a DENY that matches denies, then with any ALLOW one must match. CUSTOM policies are asked before by
 * whoever can wait for an answer. A dry-run policy is told and changes nothing. A policy that is named and not known
 * denies. Source: Istio authorization (order), Envoy RBAC (words of the result).
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { HttpAuthorization } from '../../model/l7/index.ts';
import type { PolicyRequest } from './policy-request.ts';
import { compileRule, type RulePredicate } from './rule-matcher.ts';

export type PolicyVerdict =
  | { readonly allowed: true }
  /** `by` as it stands in logs: `ns[a]-policy[b]-rule[0]`, or `none` when no ALLOW matched. */
  | { readonly allowed: false; readonly by: string };

interface CompiledRule {
  readonly id: string;
  readonly matches: RulePredicate;
}

interface CompiledPolicy {
  readonly policy: HttpAuthorization;
  readonly rules: readonly CompiledRule[];
}

const ALLOWED: PolicyVerdict = { allowed: true };

/** What dry-run and AUDIT policies said about one request. */
export interface PolicyNote {
  readonly policy: string;
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT';
  readonly matched: boolean;
}

export class PolicySet {
  readonly #deny: readonly CompiledPolicy[];
  readonly #allow: readonly CompiledPolicy[];
  readonly #custom: readonly CompiledPolicy[];
  readonly #notes: readonly CompiledPolicy[];
  /** The first name that nothing is known of. */
  readonly #unknown: string | undefined;

  constructor(policies: readonly HttpAuthorization[], unknown: string | undefined) {
    const compiled = policies.map(compile);
    const of = (action: HttpAuthorization['action']) =>
      compiled.filter(({ policy }) => policy.action === action && !policy.dryRun);
    this.#deny = of('DENY');
    this.#allow = of('ALLOW');
    this.#custom = of('CUSTOM');
    this.#notes = compiled.filter(({ policy }) => policy.dryRun || policy.action === 'AUDIT');
    this.#unknown = unknown;
  }

  /** Of the policies with these keys. Undefined when there are none. What cannot be compiled denies. */
  static of(
    keys: readonly string[],
    find: (key: string) => HttpAuthorization | undefined,
    log: Logger,
  ): PolicySet | undefined {
    if (keys.length === 0) return undefined;
    const known: HttpAuthorization[] = [];
    let unknown: string | undefined;
    for (const key of keys) {
      const policy = find(key);
      if (policy) known.push(policy);
      else unknown ??= key;
    }
    try {
      return new PolicySet(known, unknown);
    } catch (error) {
      log.error('policies cannot be compiled: everything is denied', { policies: keys, error: errorMessage(error) });
      return new PolicySet([], keys[0]);
    }
  }

  get hasNotes(): boolean {
    return this.#notes.length > 0;
  }

  /** Providers to be asked about this request, with the rule that says so. */
  customFor(request: PolicyRequest): readonly { readonly provider: string; readonly by: string }[] {
    if (this.#custom.length === 0) return [];
    const found = new Map<string, string>();
    for (const { policy, rules } of this.#custom) {
      const rule = rules.find(({ matches }) => matches(request));
      if (rule && !found.has(policy.provider)) found.set(policy.provider, rule.id);
    }
    return [...found].map(([provider, by]) => ({ provider, by }));
  }

  decide(request: PolicyRequest): PolicyVerdict {
    if (this.#unknown !== undefined) return { allowed: false, by: `unknown[${this.#unknown}]` };
    const denied = matching(this.#deny, request);
    if (denied !== undefined) return { allowed: false, by: denied };
    if (this.#allow.length === 0 || matching(this.#allow, request) !== undefined) return ALLOWED;
    return { allowed: false, by: 'none' };
  }

  notes(request: PolicyRequest): readonly PolicyNote[] {
    return this.#notes.flatMap(({ policy, rules }) => {
      if (policy.action === 'CUSTOM') return [];
      const matched = rules.some(({ matches }) => matches(request));
      return [{ policy: `${policy.namespace}/${policy.name}`, action: policy.action, matched }];
    });
  }
}

function matching(policies: readonly CompiledPolicy[], request: PolicyRequest): string | undefined {
  for (const { rules } of policies) {
    for (const { id, matches } of rules) if (matches(request)) return id;
  }
  return undefined;
}

function compile(policy: HttpAuthorization): CompiledPolicy {
  const { namespace, name, rules, action } = policy;
  return {
    policy,
    rules: rules.map((rule, index) => ({
      id: `ns[${namespace}]-policy[${name}]-rule[${index}]`,
      matches: compileRule(rule, action),
    })),
  };
}
