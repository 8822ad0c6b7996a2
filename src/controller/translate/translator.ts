/**
 * Resources to IR. Same resources, same IR: what is remembered between passes only saves work.
 * A broken object becomes a status condition, and everything else still ships.
 */
import assert from 'node:assert/strict';
import type { KubeObject } from '../../kube/index.ts';
import type { Authorization } from '../../model/authorization.ts';
import type { Service } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import type { MeshIR, StatusPatch, Translation } from '../ir.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { compareText, type Namespace, nameOf, namespaceOf, type PodGroup, type Resources } from '../resources.ts';
import { translateAuthorizationPolicy } from './authorization-policy.ts';
import { boundObjects } from './bound-objects.ts';
import { slicePods, sliceService, translateEndpointSlice } from './endpoint-slice.ts';
import { groupBy } from './group-by.ts';
import { type Attachments, attachedGateways } from './l7/attachment.ts';
import { type L7Output, translateL7 } from './l7/l7-pass.ts';
import { type ServedGateways, servedGateways } from './l7/served-gateways.ts';
import { Memo } from './memo.ts';
import { namespaceScopes, type Policies, type Scopes } from './namespace-scopes.ts';
import { otherStatuses } from './not-served.ts';
import { ofRevision } from './of-revision.ts';
import { staticStrictPolicy } from './peer-authentication.ts';
import { groupPods } from './pod-groups.ts';
import { nodeLocality, translatePod } from './pod-workload.ts';
import { translateRefusedPolicy } from './refused-policy.ts';
import { type Services, translateServices } from './service-catalog.ts';
import { translateEntryWorkloads } from './service-entry.ts';
import type { ServiceInfo } from './service-info.ts';
import { toWaypoint, type Waypoint, type Waypoints } from './waypoint.ts';
import { type WaypointAllows, waypointAllows } from './waypoint-allow.ts';
import { isRequirement, requirementPolicies } from './waypoint-requirement.ts';
import { translateWorkloadEntry } from './workload-entry.ts';
import { NO_LOCALITY } from './workload-parts.ts';

const NETWORK_LABEL = 'topology.istio.io/network';

export class Translator {
  readonly #settings: MeshSettings;
  readonly #memo = new Memo();

  constructor(settings: MeshSettings) {
    this.#settings = settings;
  }

  /** @param attachments what gateways have taken so far, see `attachment.ts` */
  translate(given: Resources, attachments: Attachments = new Map()): Translation {
    const resources = ofRevision(given, this.#settings.revision);
    const pass = new Pass(this.#settings, this.#memo, { resources, attachments });
    const translation = pass.run();
    this.#memo.sweep();
    return translation;
  }
}

/** One pass over a snapshot. Its sections depend on lists; a list in which nothing changed is the list of before. */
class Pass {
  readonly #settings: MeshSettings;
  readonly #memo: Memo;
  readonly #resources: Resources;
  readonly #network: string;
  readonly #namespaces: ReadonlyMap<string, Namespace>;
  readonly #waypoints: Waypoints;
  readonly #served: ServedGateways;
  readonly #attachments: Attachments;
  readonly #waypointAllows: WaypointAllows;

  constructor(
    settings: MeshSettings,
    memo: Memo,
    { resources, attachments }: { readonly resources: Resources; readonly attachments: Attachments },
  ) {
    this.#settings = settings;
    this.#attachments = attachments;
    this.#memo = memo;
    this.#resources = resources;
    const { namespaces, pods } = resources;
    this.#namespaces = memo.section(
      'namespaces',
      [namespaces],
      () => new Map(namespaces.map((namespace) => [namespace.metadata.name, namespace])),
    );
    this.#network = this.#namespaces.get(settings.rootNamespace)?.metadata.labels?.[NETWORK_LABEL] ?? '';
    this.#waypoints = this.#findWaypoints();
    this.#served = this.#findServed();
    const instances = settings.autoAllowWaypoints ? pods : [];
    this.#waypointAllows = memo.get('waypoint allows', [this.#waypoints, instances], () =>
      waypointAllows(this.#waypoints, instances, settings),
    );
  }

  run(): Translation {
    const services = this.#services();
    const policies = this.#policies();
    const groups = this.#resources.podGroups ?? groupPods(this.#resources.pods);
    const scopes = this.#scopes(services, policies, groups);
    const entries = this.#workloadEntries(scopes);
    const workloadGroups = new Map<string, readonly Workload[]>([
      ...this.#pods(groups, scopes, services),
      ['workload entries', entries.workloads],
      ['service entries', this.#entryWorkloads(scopes, services)],
      ['endpoint slices', this.#sliceWorkloads(services)],
    ]);
    const l7 = this.#l7(services, scopes, workloadGroups);
    return {
      bound: this.#memo.section('bound', [services.infos], () => boundObjects(services.infos)),
      ir: {
        workloadGroups,
        gateways: l7.gateways,
        services: this.#canonicalServices(services),
        policies: this.#authorizations(policies, scopes, workloadGroups),
      },
      statuses: [
        ...services.statuses,
        ...entries.statuses,
        ...this.#others(),
        ...policies.translated.map(({ status }) => status),
        ...l7.statuses,
      ],
    };
  }

  #findWaypoints(): Waypoints {
    const { gateways, gatewayClasses } = this.#resources;
    return this.#memo.get('waypoints', [gateways, gatewayClasses, this.#network], () => {
      const classes = new Map(gatewayClasses.map((one) => [one.metadata.name, one]));
      const found = new Map<string, Waypoint>();
      for (const gateway of gateways) {
        const waypoint = toWaypoint(gateway, classes.get(gateway.spec.gatewayClassName), this.#network);
        if (waypoint) found.set(nameOf(gateway), waypoint);
      }
      return found;
    });
  }

  #findServed(): ServedGateways {
    const { gateways, gatewayClasses } = this.#resources;
    const around = { network: this.#network, settings: this.#settings };
    return this.#memo.get('served gateways', [gateways, gatewayClasses, this.#network], () =>
      servedGateways(gateways, new Map(gatewayClasses.map((one) => [one.metadata.name, one])), around),
    );
  }

  /** Without gateways of ours, and policies that may need one, nothing of it depends on workloads and pods. */
  #l7({ infos }: Services, scopes: Scopes, workloadGroups: MeshIR['workloadGroups']): L7Output {
    const { services, pods, workloadEntries, serviceEntries, namespaces } = this.#resources;
    const { httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, referenceGrants } = this.#resources;
    const { virtualServices, destinationRules } = this.#resources;
    const { authorizationPolicies, requestAuthentications, refusedPolicies, secrets } = this.#resources;
    const isNeeded = this.#served.size + authorizationPolicies.length + requestAuthentications.length > 0;
    const endpoints = isNeeded ? [pods, workloadEntries, serviceEntries, [...workloadGroups.values()]] : [];
    const gatewayRoutes = [httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, referenceGrants];
    const routes = [...gatewayRoutes, virtualServices, destinationRules];
    const { rateLimitPolicies, telemetries, configMaps, operators } = this.#resources;
    const settings = [rateLimitPolicies, telemetries, configMaps, operators];
    const policies = [authorizationPolicies, requestAuthentications, refusedPolicies, secrets, scopes, ...settings];
    const dependencies = [
      this.#served,
      infos,
      services,
      namespaces,
      this.#network,
      ...routes,
      ...policies,
      ...endpoints,
    ];
    return this.#memo.section('l7', dependencies, (memo) =>
      translateL7({
        ...{ resources: this.#resources, settings: this.#settings, network: this.#network, served: this.#served },
        scopeOf: (namespace) => {
          const scope = scopes.get(namespace);
          assert(scope, 'every namespace that has anything has a scope');
          return scope;
        },
        ...{ memo, infos, workloads: endpoints.length === 0 ? [] : [...workloadGroups.values()].flat() },
      }),
    );
  }

  #bindingAround(kind: string, object: KubeObject) {
    const attached = attachedGateways(this.#attachments, kind, object);
    return { ...this.#around(namespaceOf(object)), served: this.#served, attached };
  }

  #around(namespace: string) {
    return {
      settings: this.#settings,
      network: this.#network,
      namespace: this.#namespaces.get(namespace),
      waypoints: this.#waypoints,
    };
  }

  #services(): Services {
    const { services, serviceEntries } = this.#resources;
    const around = [this.#namespaces, this.#network, this.#waypoints, this.#served, this.#attachments];
    const dependencies = [services, serviceEntries, ...around];
    return this.#memo.section('services', dependencies, (memo) =>
      translateServices(memo, this.#resources, (kind, object) => this.#bindingAround(kind, object)),
    );
  }

  #policies(): Policies {
    const { authorizationPolicies, refusedPolicies, peerAuthentications } = this.#resources;
    const dependencies = [authorizationPolicies, refusedPolicies, peerAuthentications];
    return this.#memo.section('policies', dependencies, (memo) => {
      const ordered = [...authorizationPolicies].sort((a, b) => compareText(nameOf(a), nameOf(b)));
      const authored = ordered.map((object) =>
        memo.get(`policy ${nameOf(object)}`, [object], () => translateAuthorizationPolicy(object, this.#settings)),
      );
      const refused = refusedPolicies.map((one) =>
        memo.get(`refused ${one.object.kind} ${nameOf(one.object)}`, [one], () =>
          translateRefusedPolicy(one, this.#settings),
        ),
      );
      return { translated: [...authored, ...refused], peerByNamespace: groupBy(peerAuthentications, namespaceOf) };
    });
  }

  /** What holds in every namespace that has anything. */
  #scopes(services: Services, policies: Policies, groups: readonly PodGroup[]): Scopes {
    const { workloadEntries, serviceEntries, gateways } = this.#resources;
    const { authorizationPolicies, requestAuthentications } = this.#resources;
    const used = new Set([
      ...this.#namespaces.keys(),
      ...groups.map(({ namespace }) => namespace),
      ...[...workloadEntries, ...serviceEntries].map(namespaceOf),
      ...policies.peerByNamespace.keys(),
      ...services.infos.map(({ service }) => service.namespace),
      ...[...gateways, ...authorizationPolicies, ...requestAuthentications].map(namespaceOf),
    ]);
    const around = [this.#network, this.#namespaces, this.#waypoints, this.#waypointAllows, this.#served];
    return this.#memo.section('scopes', [services, policies, [...used], ...around], (memo) =>
      namespaceScopes(memo, [...used], {
        ...{ settings: this.#settings, served: this.#served, waypointAllows: this.#waypointAllows },
        ...{ infos: services.infos, policies, around: (namespace) => this.#around(namespace) },
      }),
    );
  }

  /** Services without a selector that list a pod in a slice, by `namespace/name/uid` of the pod. */
  #listedPods({ byName }: Services): ReadonlyMap<string, readonly ServiceInfo[]> {
    const { endpointSlices } = this.#resources;
    return this.#memo.get('listed pods', [endpointSlices, byName], () => {
      const listed = new Map<string, ServiceInfo[]>();
      for (const slice of endpointSlices) {
        const info = byName.get(sliceService(slice) ?? '');
        if (!info || info.selector) continue;
        for (const pod of slicePods(slice)) listed.set(pod, [...(listed.get(pod) ?? []), info]);
      }
      return listed;
    });
  }

  #pods(groups: readonly PodGroup[], scopes: Scopes, services: Services): readonly [string, readonly Workload[]][] {
    const { nodes } = this.#resources;
    const localities = this.#memo.get(
      'localities',
      [nodes],
      () => new Map(nodes.map((node) => [node.metadata.name, nodeLocality(node)])),
    );
    const listed = this.#listedPods(services);
    return groups.map(({ key, namespace, pods }) => {
      const scope = scopes.get(namespace);
      const dependencies = [pods, scope, localities, listed];
      const workloads = this.#memo.section(`pods ${key}`, dependencies, (memo) =>
        pods.flatMap((pod) => {
          if (!scope) return []; // every namespace that has a group has one
          const locality = localities.get(pod.spec?.nodeName ?? '') ?? NO_LOCALITY;
          const listedBy = listed.get(`${nameOf(pod)}/${pod.metadata.uid ?? ''}`) ?? [];
          const workload = memo.get(pod.metadata.name, [pod, scope, locality, listedBy], () =>
            translatePod(pod, scope, { locality, listedBy }),
          );
          return workload ? [workload] : [];
        }),
      );
      return [`pods ${key}`, workloads];
    });
  }

  #workloadEntries(scopes: Scopes): { workloads: readonly Workload[]; statuses: readonly StatusPatch[] } {
    const { workloadEntries } = this.#resources;
    return this.#memo.section('workload entries', [workloadEntries, scopes], (memo) => {
      const translated = workloadEntries.flatMap((entry) => {
        const scope = scopes.get(namespaceOf(entry));
        if (!scope) return [];
        return [memo.get(`vm ${nameOf(entry)}`, [entry, scope], () => translateWorkloadEntry(entry, scope))];
      });
      return {
        workloads: translated.map(({ workload }) => workload),
        statuses: translated.map(({ status }) => status),
      };
    });
  }

  #entryWorkloads(scopes: Scopes, { infos }: Services): readonly Workload[] {
    const { serviceEntries } = this.#resources;
    return this.#memo.section('entry endpoints', [serviceEntries, scopes, infos], (memo) => {
      const own = infos.filter(({ origin }) => origin === 'ServiceEntry');
      const byEntry = groupBy(own, ({ service }) => `${service.namespace}/${service.name}`);
      return serviceEntries.flatMap((entry) => {
        const scope = scopes.get(namespaceOf(entry));
        if (!scope) return [];
        const services = byEntry.get(nameOf(entry)) ?? [];
        return memo.get(`endpoints ${nameOf(entry)}`, [entry, scope, services], () =>
          translateEntryWorkloads(entry, services, scope),
        );
      });
    });
  }

  #sliceWorkloads({ byName }: Services): readonly Workload[] {
    const { endpointSlices } = this.#resources;
    const around = { settings: this.#settings, network: this.#network };
    return this.#memo.section('slices', [endpointSlices, byName, this.#network], (memo) =>
      endpointSlices.flatMap((slice) => {
        const info = byName.get(sliceService(slice) ?? '');
        if (!info) return [];
        return memo.get(`slice ${nameOf(slice)}`, [slice, info, this.#network], () =>
          translateEndpointSlice(slice, info, around),
        );
      }),
    );
  }

  #canonicalServices({ infos, canonical }: Services): readonly Service[] {
    return this.#memo.section('canonical', [infos, canonical], (memo) =>
      infos.map((info) => {
        const { service } = info;
        const isCanonical = canonical.has(info);
        if (service.canonical === isCanonical) return service;
        return memo.get(info.key, [service], () => ({ ...service, canonical: isCanonical }));
      }),
    );
  }

  #authorizations(
    { translated, peerByNamespace }: Policies,
    scopes: Scopes,
    workloadGroups: MeshIR['workloadGroups'],
  ): readonly Authorization[] {
    const requirements = this.#requirements(workloadGroups);
    const dependencies = [translated, scopes, this.#waypointAllows, requirements];
    return this.#memo.section('authorizations', dependencies, (memo) => {
      const authored = translated.flatMap(({ policy }) => (policy ? [policy] : []));
      const policies = [...authored, ...this.#waypointAllows.values(), ...requirements];
      if (peerByNamespace.size === 0) return policies;
      const peers = [...peerByNamespace.keys()].flatMap((namespace) => scopes.get(namespace)?.policies.peer ?? []);
      const converted = peers.flatMap(({ workloads }) =>
        workloads.flatMap((workload) => (workload.converted ? [workload.converted] : [])),
      );
      return [...policies, ...converted, memo.get('strict', [], () => staticStrictPolicy(this.#settings))];
    });
  }

  /** What the tunnels of workloads that only their waypoint may reach list. */
  #requirements(workloadGroups: MeshIR['workloadGroups']): readonly Authorization[] {
    const listed = [...workloadGroups].flatMap(([key, workloads]) =>
      this.#memo.get(`required ${key}`, [workloads], () =>
        workloads.flatMap(({ authorizationPolicies }) => authorizationPolicies.filter(isRequirement)),
      ),
    );
    const keys = [...new Set(listed)].sort();
    return this.#memo.get('waypoint requirements', [keys, this.#served], () =>
      requirementPolicies(keys, this.#served, this.#settings),
    );
  }

  #others(): readonly StatusPatch[] {
    const { gateways, notServed, secrets } = this.#resources;
    return this.#memo.section('others', [gateways, this.#served, notServed, secrets], (memo) =>
      otherStatuses(memo, {
        ...{ notServed, secrets },
        gateways: gateways.filter((gateway) => !this.#served.has(nameOf(gateway))),
      }),
    );
  }
}
