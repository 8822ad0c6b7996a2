/**
 * The policies of waypoints in one translation: which is enforced where, what every waypoint is told of them, and the
 * conditions that say so to their authors.
 */
import type { HttpAuthentication, HttpAuthorization, RateLimitPolicy } from '../../../model/l7/index.ts';
import type { Workload } from '../../../model/workload.ts';
import type { ConditionValue, StatusPatch } from '../../ir.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { nameOf, namespaceOf, type Resources } from '../../resources.ts';
import type { Memo } from '../memo.ts';
import type { NamespaceScope } from '../pod-workload.ts';
import {
  requiresWaypoint,
  type SelectorPolicy,
  type WaypointUse,
  waypointPolicyKeys,
  waypointUse,
} from '../policy-scope.ts';
import { isSubset, type Labels } from '../selector.ts';
import type { ServiceInfo } from '../service-info.ts';
import { translateHttpAuthentication } from './http-authentication.ts';
import { translateHttpAuthorization } from './http-authorization.ts';
import { type ResolvedTarget, resolveTarget, type TargetRef, targetCondition, targetRefsOf } from './policy-targets.ts';
import { translateRateLimitPolicy } from './rate-limit-policy.ts';
import { strictestAuthorization } from './refused-authorization.ts';
import type { ServedGateways } from './served-gateways.ts';

export interface PolicyInput {
  readonly resources: Resources;
  readonly settings: MeshSettings;
  readonly memo: Memo;
  readonly served: ServedGateways;
  readonly infos: readonly ServiceInfo[];
  readonly workloads: readonly Workload[];
  readonly scopeOf: (namespace: string) => NamespaceScope;
  readonly labelsOf: (uid: string) => Labels;
}

type PolicyKind = 'AuthorizationPolicy' | 'RequestAuthentication' | 'RateLimitPolicy';

export class PolicyPass {
  readonly statuses: readonly StatusPatch[];
  readonly #input: PolicyInput;
  readonly #byKey: ReadonlyMap<string, ServiceInfo>;
  readonly #byObject = new Map<string, ServiceInfo[]>();
  readonly #ownWaypoints: ReadonlyMap<string, string>;
  readonly #authorizations = new Map<string, HttpAuthorization>();
  readonly #authentications = new Map<string, HttpAuthentication>();
  readonly #rateLimits = new Map<string, RateLimitPolicy>();
  /** Keys of policies by `<kind> <gateway or service>`. */
  readonly #attached = new Map<string, string[]>();
  #limited: readonly string[] | undefined;
  readonly #uses = new Map<string, WaypointUse>();

  constructor(input: PolicyInput) {
    this.#input = input;
    this.#byKey = new Map(input.infos.map((info) => [info.key, info]));
    for (const info of input.infos) {
      const key = `${info.origin} ${info.service.namespace}/${info.service.name}`;
      this.#byObject.set(key, [...(this.#byObject.get(key) ?? []), info]);
    }
    this.#ownWaypoints = new Map(
      [...input.served.values()].flatMap(({ key, waypoint }) =>
        waypoint ? [[JSON.stringify(waypoint.address.destination), key] as const] : [],
      ),
    );
    this.statuses = [...this.#readAuthorizations(), ...this.#readAuthentications(), ...this.#readRateLimits()];
  }

  /** Keys of policies attached to a gateway or a service. */
  attached(kind: PolicyKind, to: string): readonly string[] {
    return this.#attached.get(`${kind} ${to}`) ?? NONE;
  }

  /** Keys of the policies that are enforced at the waypoint for requests that go to this workload. */
  endpointPolicies(workload: Workload): readonly string[] {
    const scope = this.#input.scopeOf(workload.namespace);
    if (scope.policies.selected.length === 0) return NONE;
    return waypointPolicyKeys(scope.policies, this.#input.labelsOf(workload.uid), this.#useOf(workload));
  }

  /** Keys of the request authentications that select any of these workloads. */
  selectedAuthentications(workloads: readonly Workload[]): readonly string[] {
    const { rootNamespace } = this.#input.settings;
    const found = this.#input.resources.requestAuthentications.filter((object) => {
      if (targetRefsOf(object.spec ?? {}).length > 0) return false;
      const namespace = namespaceOf(object);
      const selector = object.spec?.selector?.matchLabels ?? {};
      return workloads.some(
        (workload) =>
          (namespace === rootNamespace || namespace === workload.namespace) &&
          isSubset(selector, this.#input.labelsOf(workload.uid)),
      );
    });
    return found.map(nameOf);
  }

  /** Names (`namespace/name`) of the routes that rate limits are attached to. */
  limitedRoutes(): readonly string[] {
    this.#limited ??= [...this.#attached.keys()].flatMap(
      (key) => /^RateLimitPolicy \w+Route (\S+)$/.exec(key)?.[1] ?? [],
    );
    return this.#limited;
  }

  /** Keys of the rate limits of a route by its name in the configuration, `<namespace>/<object>.<rule>`. */
  routeLimits(route: string): readonly string[] {
    const object = route.slice(0, route.lastIndexOf('.'));
    const kinds = ['HTTPRoute', 'GRPCRoute'];
    return kinds.flatMap((kind) => this.attached('RateLimitPolicy', `${kind} ${object}`));
  }

  authorizations(keys: Iterable<string>): readonly HttpAuthorization[] {
    return pick(this.#authorizations, keys);
  }

  authentications(keys: Iterable<string>): readonly HttpAuthentication[] {
    return pick(this.#authentications, keys);
  }

  #readAuthorizations(): readonly StatusPatch[] {
    const { resources, settings, memo } = this.#input;
    const statuses: StatusPatch[] = [];
    for (const object of resources.authorizationPolicies) {
      const key = nameOf(object);
      const { policy, faults } = memo.get(`l7 authorization ${key}`, [object], () =>
        translateHttpAuthorization(object, settings),
      );
      this.#authorizations.set(key, policy);
      const refs = targetRefsOf(object.spec ?? {});
      const condition = refs.length > 0 ? this.#attach('AuthorizationPolicy', object, refs) : this.#placement(object);
      if (condition) statuses.push(patch('AuthorizationPolicy', object, withFaults(condition, faults)));
    }
    for (const refused of resources.refusedPolicies) {
      const strictest = strictestAuthorization(refused);
      if (!strictest) continue;
      const key = nameOf(refused.object);
      this.#authorizations.set(key, strictest.policy);
      if (strictest.targets.length > 0) this.#attach('AuthorizationPolicy', refused.object, strictest.targets);
    }
    return statuses;
  }

  #readAuthentications(): readonly StatusPatch[] {
    const { resources, memo } = this.#input;
    return resources.requestAuthentications.map((object) => {
      const key = nameOf(object);
      const policy = memo.get(`l7 authentication ${key}`, [object], () => translateHttpAuthentication(object));
      this.#authentications.set(key, policy);
      const refs = targetRefsOf(object.spec ?? {});
      const condition =
        refs.length > 0 ? this.#attach('RequestAuthentication', object, refs) : this.#selectionOf(object);
      return patch('RequestAuthentication', object, condition);
    });
  }

  rateLimits(keys: Iterable<string>): readonly RateLimitPolicy[] {
    return pick(this.#rateLimits, keys);
  }

  #readRateLimits(): readonly StatusPatch[] {
    const { resources, memo, settings } = this.#input;
    return resources.rateLimitPolicies.map((object) => {
      const key = nameOf(object);
      const policy = memo.get(`l7 rate limit ${key}`, [object], () => translateRateLimitPolicy(object, settings));
      this.#rateLimits.set(key, policy);
      const condition = this.#attach('RateLimitPolicy', object, object.spec.targetRefs);
      const missing = policy.limits.flatMap(({ global }) =>
        global && !this.#byKey.has(global.cluster) ? [`rate limit service ${global.cluster}`] : [],
      );
      return patch('RateLimitPolicy', object, withFaults(condition, missing));
    });
  }

  #attach(kind: PolicyKind, object: NamedObject, refs: readonly TargetRef[]): ConditionValue {
    const { served, settings } = this.#input;
    const around = {
      served,
      services: this.#byObject,
      rootNamespace: settings.rootNamespace,
      routes: kind === 'RateLimitPolicy' ? this.#routes() : NO_ROUTES,
    };
    const targets = refs.map((ref) => resolveTarget(ref, namespaceOf(object as never), around));
    const key = nameOf(object as never);
    for (const to of targets.flatMap(({ gateways, services, routes }) => [...gateways, ...services, ...routes])) {
      const list = this.#attached.get(`${kind} ${to}`) ?? [];
      if (!list.includes(key)) this.#attached.set(`${kind} ${to}`, [...list, key]);
    }
    return targetCondition(targets, this.#enforcementPoints(targets));
  }

  /** Routes by `<kind> <namespace>/<name>`. */
  #routes(): ReadonlySet<string> {
    const { httpRoutes, grpcRoutes } = this.#input.resources;
    return new Set([...httpRoutes, ...grpcRoutes].map((object) => `${object.kind} ${nameOf(object)}`));
  }

  #enforcementPoints(targets: readonly ResolvedTarget[]): readonly string[] {
    const { served } = this.#input;
    return targets.flatMap(({ gateways, services, routes }) => [
      ...routes.map((route) => `the waypoints of ${route}`),
      ...gateways,
      ...services.flatMap((key) => (this.#byKey.get(key)?.wanted ?? []).filter((one) => served.has(one))),
    ]);
  }

  /** Where a policy with a selector runs; undefined when the tunnels alone enforce it. */
  #placement(object: Resources['authorizationPolicies'][number]): ConditionValue | undefined {
    const namespace = namespaceOf(object);
    const key = nameOf(object);
    const own = this.#input.scopeOf(namespace).policies.selected.find((one) => one.key === key);
    if (!own || own.needs === 'TUNNEL') return undefined;
    return this.#placementOf(own, namespace);
  }

  #placementOf({ selector, needs }: Pick<SelectorPolicy, 'selector' | 'needs'>, namespace: string): ConditionValue {
    const points = new Set<string>();
    const without: string[] = [];
    for (const workload of this.#selected(selector, namespace)) {
      const { waypoints, required } = this.#useOf(workload);
      for (const waypoint of waypoints) points.add(waypoint);
      if (waypoints.length === 0 && !required) without.push(workload.name);
    }
    const type = 'WaypointAccepted';
    const at = points.size > 0 ? `enforced at ${[...points].sort().join(', ')}` : 'enforced at no waypoint';
    if (without.length === 0 && points.size > 0) return { type, status: 'True', reason: 'Accepted', message: at };
    if (without.length === 0) {
      return { type, status: 'False', reason: 'NothingSelected', message: 'no workload is selected' };
    }
    const some = without.sort().slice(0, 3).join(', ') + (without.length > 3 ? `, ${without.length - 3} more` : '');
    const consequence = needs === 'NOTE' ? 'nothing is noted for them' : 'what tunnels cannot check is denied there';
    const message = `${at}; without a waypoint: ${some}: ${consequence}`;
    if (points.size > 0) return { type, status: 'True', reason: 'PartiallyInvalid', message };
    return { type, status: 'False', reason: 'AncestorNotBound', message };
  }

  #selectionOf(object: Resources['requestAuthentications'][number]): ConditionValue {
    const selector = object.spec?.selector?.matchLabels ?? {};
    const placed = this.#placementOf({ selector, needs: 'NOTE' }, namespaceOf(object));
    const message = placed.message.replace('nothing is noted for them', 'no token is checked there');
    return { ...placed, message };
  }

  #selected(selector: Labels, namespace: string): readonly Workload[] {
    const { workloads, labelsOf, settings, served } = this.#input;
    return workloads.filter(
      (workload) =>
        (namespace === settings.rootNamespace || workload.namespace === namespace) &&
        isSubset(selector, labelsOf(workload.uid)) &&
        !served.has(`${workload.namespace}/${labelsOf(workload.uid)[GATEWAY_NAME] ?? ''}`),
    );
  }

  #useOf(workload: Workload): WaypointUse {
    const known = this.#uses.get(workload.uid);
    if (known) return known;
    const { served, labelsOf, scopeOf } = this.#input;
    const services = [...workload.services.keys()].flatMap((key) => this.#byKey.get(key) ?? []);
    const use = waypointUse(services, (key) => served.has(key), {
      own: workload.waypoint && this.#ownWaypoints.get(JSON.stringify(workload.waypoint.destination)),
      required: requiresWaypoint(labelsOf(workload.uid), scopeOf(workload.namespace).namespace?.metadata.labels),
    });
    this.#uses.set(workload.uid, use);
    return use;
  }
}

type NamedObject = { readonly metadata: { readonly name: string; readonly namespace?: string | undefined } };

const NONE: readonly string[] = [];
const NO_ROUTES: ReadonlySet<string> = new Set();
const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name';

function patch(kind: PolicyKind, { metadata }: NamedObject, condition: ConditionValue): StatusPatch {
  const key = { namespace: metadata.namespace ?? '', name: metadata.name };
  const group = kind === 'RateLimitPolicy' ? 'culvert.dev' : 'security.istio.io';
  return { kind: { group, kind }, key, conditions: [condition] };
}

function withFaults(condition: ConditionValue, faults: readonly string[]): ConditionValue {
  if (faults.length === 0) return condition;
  const message = `${condition.message}; values that cannot be used: ${faults.join(', ')}`;
  return { ...condition, reason: condition.status === 'True' ? 'PartiallyInvalid' : condition.reason, message };
}

function pick<T>(from: ReadonlyMap<string, T>, keys: Iterable<string>): readonly T[] {
  return [...new Set(keys)].sort().flatMap((key) => from.get(key) ?? []);
}
