/**
 * Resources to IR. Same resources, same IR: what is remembered between passes only saves work.
 * A broken object becomes a status condition, and everything else still ships.
 */
import type { KubeObject } from '../../kube/index.ts';
import type { Service } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import type { BoundObject } from '../gateway-ir.ts';
import type { StatusPatch, Translation } from '../ir.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { byAge, compareText, nameOf, namespaceOf, type PeerAuthentication, type Resources } from '../resources.ts';
import { type TranslatedPolicy, translateAuthorizationPolicy } from './authorization-policy.ts';
import { allocateAddresses } from './auto-addresses.ts';
import { slicePods, sliceService, translateEndpointSlice } from './endpoint-slice.ts';
import { ownHostnames } from './hostname-owner.ts';
import { type Attachments, attachedGateways } from './l7/attachment.ts';
import { translateL7 } from './l7/l7-pass.ts';
import { type ServedGateways, servedGateways } from './l7/served-gateways.ts';
import { Memo } from './memo.ts';
import { gatewayStatus, notServedStatus, remoteSecretStatus } from './not-served.ts';
import { staticStrictPolicy, translatePeerAuthentications } from './peer-authentication.ts';
import { type NamespaceScope, nodeLocality, translatePod } from './pod-workload.ts';
import { translateRefusedPolicy } from './refused-policy.ts';
import { translateService } from './service.ts';
import { translateEntryServices, translateEntryWorkloads } from './service-entry.ts';
import type { ServiceInfo } from './service-info.ts';
import { toWaypoint, type Waypoint } from './waypoint.ts';
import { type WaypointAllows, waypointAllows } from './waypoint-allow.ts';
import { isRequirement, requirementPolicies } from './waypoint-requirement.ts';
import { translateWorkloadEntry } from './workload-entry.ts';

const NETWORK_LABEL = 'topology.istio.io/network';
const REVISION_LABEL = 'istio.io/rev';

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

/** One pass over a snapshot. */
class Pass {
  readonly #settings: MeshSettings;
  readonly #memo: Memo;
  readonly #resources: Resources;
  readonly #network: string;
  readonly #namespaces: ReadonlyMap<string, Resources['namespaces'][number]>;
  readonly #waypoints: ReadonlyMap<string, Waypoint>;
  readonly #served: ServedGateways;
  readonly #attachments: Attachments;
  readonly #waypointAllows: WaypointAllows;
  readonly #policies: readonly TranslatedPolicy[];
  readonly #peerByNamespace: ReadonlyMap<string, readonly PeerAuthentication[]>;
  readonly #statuses: StatusPatch[] = [];

  constructor(
    settings: MeshSettings,
    memo: Memo,
    { resources, attachments }: { readonly resources: Resources; readonly attachments: Attachments },
  ) {
    this.#settings = settings;
    this.#memo = memo;
    this.#resources = resources;
    this.#namespaces = new Map(resources.namespaces.map((namespace) => [namespace.metadata.name, namespace]));
    this.#network = this.#namespaces.get(settings.rootNamespace)?.metadata.labels?.[NETWORK_LABEL] ?? '';
    this.#attachments = attachments;
    this.#waypoints = this.#findWaypoints();
    this.#served = this.#findServed();
    const { pods } = resources;
    this.#waypointAllows = memo.get('waypoint allows', [this.#waypoints, pods], () =>
      waypointAllows(this.#waypoints, pods, settings),
    );
    const authored = resources.authorizationPolicies.map((object) =>
      memo.get(`policy ${nameOf(object)}`, [object], () => translateAuthorizationPolicy(object, settings)),
    );
    const refused = resources.refusedPolicies.map((one) =>
      memo.get(`refused ${one.object.kind} ${nameOf(one.object)}`, [one], () => translateRefusedPolicy(one, settings)),
    );
    this.#policies = [...authored, ...refused];
    this.#peerByNamespace = groupBy(resources.peerAuthentications, namespaceOf);
  }

  run(): Translation {
    const services = this.#services();
    const entries = this.#entries();
    const { infos, canonical } = ownHostnames(services, entries.infos);
    const scopes = this.#scopes(infos);
    const byName = new Map(services.map((info) => [`${info.service.namespace}/${info.service.name}`, info]));
    const workloads = [
      ...this.#pods(scopes, this.#listedPods(byName)),
      ...this.#workloadEntries(scopes),
      ...this.#entryWorkloads(scopes, infos),
      ...this.#sliceWorkloads(byName),
    ];
    this.#tellOthers();
    const l7 = translateL7({
      scopeOf: scopes,
      resources: this.#resources,
      settings: this.#settings,
      network: this.#network,
      memo: this.#memo,
      served: this.#served,
      infos,
      workloads,
    });
    return {
      ir: {
        workloads,
        services: infos.map((info) => this.#withCanonical(info, canonical.has(info))),
        policies: this.#authorizations(scopes, workloads),
        gateways: l7.gateways,
      },
      bound: boundObjects(infos),
      statuses: [...this.#statuses, ...this.#policies.map(({ status }) => status), ...l7.statuses],
    };
  }

  #findWaypoints(): ReadonlyMap<string, Waypoint> {
    const classes = new Map(this.#resources.gatewayClasses.map((one) => [one.metadata.name, one]));
    const { gateways } = this.#resources;
    return this.#memo.get('waypoints', [gateways, this.#resources.gatewayClasses, this.#network], () => {
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

  #around(namespace: string) {
    return {
      settings: this.#settings,
      network: this.#network,
      namespace: this.#namespaces.get(namespace),
      waypoints: this.#waypoints,
    };
  }

  #bindingAround(kind: string, object: KubeObject) {
    const attached = attachedGateways(this.#attachments, kind, object);
    return { ...this.#around(namespaceOf(object)), served: this.#served, attached };
  }

  #services(): readonly ServiceInfo[] {
    return this.#resources.services.flatMap((object) => {
      const around = this.#bindingAround('Service', object);
      const { network, namespace, waypoints, served, attached } = around;
      const dependencies = [object, network, namespace, waypoints, served, attached];
      const info = this.#memo.get(`service ${nameOf(object)}`, dependencies, () => translateService(object, around));
      if (info?.status) this.#statuses.push(info.status);
      return info ? [info] : [];
    });
  }

  #entries(): { readonly infos: readonly ServiceInfo[] } {
    const entries = [...this.#resources.serviceEntries].sort(byAge);
    const allocated = this.#memo.get('auto addresses', [entries], () => allocateAddresses(entries));
    const infos = entries.flatMap((entry) => {
      const around = this.#bindingAround('ServiceEntry', entry);
      const { network, namespace, waypoints, served, attached } = around;
      const own = allocated.get(nameOf(entry)) ?? [];
      const dependencies = [entry, network, namespace, waypoints, served, attached, own];
      const translated = this.#memo.get(`entry ${nameOf(entry)}`, dependencies, () =>
        translateEntryServices(entry, around, own),
      );
      this.#statuses.push(translated.status);
      return translated.infos;
    });
    return { infos };
  }

  #scopes(infos: readonly ServiceInfo[]): (namespace: string) => NamespaceScope {
    const { rootNamespace } = this.#settings;
    const services = groupBy(infos, (info) => info.service.namespace);
    const selected = this.#policies.flatMap(({ selector }) => (selector ? [selector] : []));
    const policies = groupBy(selected, ({ key }) => key.slice(0, key.indexOf('/')));
    const scopes = new Map<string, NamespaceScope>();
    return (namespace) => {
      const known = scopes.get(namespace);
      if (known) return known;
      const own = this.#peerByNamespace.get(namespace) ?? [];
      const meshWide = this.#peerByNamespace.get(rootNamespace) ?? [];
      const peer = this.#memo.get(`peer ${namespace}`, [own, meshWide], () =>
        translatePeerAuthentications(own, meshWide, this.#settings, namespace),
      );
      const rootPolicies = namespace === rootNamespace ? [] : (policies.get(rootNamespace) ?? []);
      const around = this.#around(namespace);
      const there = services.get(namespace) ?? [];
      const listed = [...(policies.get(namespace) ?? []), ...rootPolicies];
      const dependencies = [
        around.network,
        around.namespace,
        around.waypoints,
        there,
        listed,
        peer,
        this.#waypointAllows,
        this.#served,
      ];
      const scope = this.#memo.get(`scope ${namespace}`, dependencies, () => ({
        ...around,
        services: there,
        policies: { selected: listed, peer },
        waypointAllows: this.#waypointAllows,
        isServed: (key: string) => this.#served.has(key),
      }));
      scopes.set(namespace, scope);
      return scope;
    };
  }

  /** Services without a selector that list a pod in a slice, by `namespace/name/uid` of the pod. */
  #listedPods(byName: ReadonlyMap<string, ServiceInfo>): ReadonlyMap<string, readonly ServiceInfo[]> {
    const listed = new Map<string, ServiceInfo[]>();
    for (const slice of this.#resources.endpointSlices) {
      const info = byName.get(sliceService(slice) ?? '');
      if (!info || info.selector) continue;
      for (const pod of slicePods(slice)) listed.set(pod, [...(listed.get(pod) ?? []), info]);
    }
    return listed;
  }

  #pods(
    scopes: (namespace: string) => NamespaceScope,
    listed: ReadonlyMap<string, readonly ServiceInfo[]>,
  ): readonly Workload[] {
    const localities = new Map(
      this.#resources.nodes.map((node) => [
        node.metadata.name,
        this.#memo.get(`locality ${node.metadata.name}`, [node], () => nodeLocality(node)),
      ]),
    );
    const nowhere = this.#memo.get('locality', [], () => nodeLocality(undefined));
    return this.#resources.pods.flatMap((pod) => {
      const scope = scopes(namespaceOf(pod));
      const locality = localities.get(pod.spec?.nodeName ?? '') ?? nowhere;
      const listedBy = listed.get(`${nameOf(pod)}/${pod.metadata.uid ?? ''}`) ?? [];
      const workload = this.#memo.get(`pod ${nameOf(pod)}`, [pod, scope, locality, listedBy], () =>
        translatePod(pod, scope, { locality, listedBy }),
      );
      return workload ? [workload] : [];
    });
  }

  #workloadEntries(scopes: (namespace: string) => NamespaceScope): readonly Workload[] {
    return this.#resources.workloadEntries.map((entry) => {
      const scope = scopes(namespaceOf(entry));
      const translated = this.#memo.get(`vm ${nameOf(entry)}`, [entry, scope], () =>
        translateWorkloadEntry(entry, scope),
      );
      this.#statuses.push(translated.status);
      return translated.workload;
    });
  }

  #entryWorkloads(scopes: (namespace: string) => NamespaceScope, infos: readonly ServiceInfo[]): readonly Workload[] {
    const own = infos.filter(({ origin }) => origin === 'ServiceEntry');
    const byEntry = groupBy(own, ({ service }) => `${service.namespace}/${service.name}`);
    return this.#resources.serviceEntries.flatMap((entry) => {
      const scope = scopes(namespaceOf(entry));
      const services = byEntry.get(nameOf(entry)) ?? [];
      return this.#memo.get(`endpoints ${nameOf(entry)}`, [entry, scope, services], () =>
        translateEntryWorkloads(entry, services, scope),
      );
    });
  }

  #sliceWorkloads(byName: ReadonlyMap<string, ServiceInfo>): readonly Workload[] {
    return this.#resources.endpointSlices.flatMap((slice) => {
      const info = byName.get(sliceService(slice) ?? '');
      if (!info) return [];
      return this.#memo.get(`slice ${nameOf(slice)}`, [slice, info, this.#network], () =>
        translateEndpointSlice(slice, info, { settings: this.#settings, network: this.#network }),
      );
    });
  }

  #withCanonical(info: ServiceInfo, canonical: boolean): Service {
    const { service } = info;
    if (service.canonical === canonical) return service;
    return this.#memo.get(`canonical ${info.key}`, [service], () => ({ ...service, canonical }));
  }

  #authorizations(scopes: (namespace: string) => NamespaceScope, workloads: readonly Workload[]) {
    const authored = this.#policies.flatMap(({ policy }) => (policy ? [policy] : []));
    const policies = [...authored, ...this.#waypointAllows.values(), ...this.#requirements(workloads)];
    if (this.#resources.peerAuthentications.length === 0) return policies;
    const converted = [...this.#peerByNamespace.keys()].flatMap((namespace) =>
      scopes(namespace).policies.peer.workloads.flatMap((workload) => (workload.converted ? [workload.converted] : [])),
    );
    const strict = this.#memo.get('static strict', [], () => staticStrictPolicy(this.#settings));
    return [...policies, ...converted, strict];
  }

  /** What the tunnels of workloads that only their waypoint may reach list. */
  #requirements(workloads: readonly Workload[]) {
    const keys = [...new Set(workloads.flatMap((one) => one.authorizationPolicies.filter(isRequirement)))].sort();
    return this.#memo.get('waypoint requirements', [keys, this.#served], () =>
      requirementPolicies(keys, this.#served, this.#settings),
    );
  }

  #tellOthers(): void {
    const told = <T extends Resources['notServed'][number]>(
      kind: string,
      objects: readonly T[],
      tell: (object: T) => StatusPatch | undefined,
    ) => {
      for (const object of objects) {
        const key = `${kind} ${object.kind} ${nameOf(object)}`;
        const status = this.#memo.get(key, [object], () => tell(object));
        if (status) this.#statuses.push(status);
      }
    };
    const foreign = this.#resources.gateways.filter((gateway) => !this.#served.has(nameOf(gateway)));
    told('gateway', foreign, gatewayStatus);
    told('other', this.#resources.notServed, notServedStatus);
    told('secret', this.#resources.secrets, remoteSecretStatus);
  }
}

function boundObjects(infos: readonly ServiceInfo[]): readonly BoundObject[] {
  const asking = groupBy(
    infos.filter(({ wanted }) => wanted.length > 0),
    ({ origin, service }) => `${origin} ${service.namespace}/${service.name}`,
  );
  return [...asking].flatMap(([key, [first, ...rest]]) => {
    if (!first) return [];
    const { service, wanted } = first;
    const hostnames = [first, ...rest].map((info) => info.service.hostname);
    return [{ key, namespace: service.namespace, name: service.name, hostnames, wanted }];
  });
}

function ofRevision(resources: Resources, revision: string): Resources {
  const isOurs = ({ metadata }: KubeObject) => (metadata.labels?.[REVISION_LABEL] ?? revision) === revision;
  const ours = <T extends KubeObject>(objects: readonly T[]) => objects.filter(isOurs);
  return {
    ...resources,
    authorizationPolicies: [...ours(resources.authorizationPolicies)].sort((a, b) => compareText(nameOf(a), nameOf(b))),
    requestAuthentications: [...ours(resources.requestAuthentications)].sort(byAge),
    peerAuthentications: ours(resources.peerAuthentications),
    refusedPolicies: resources.refusedPolicies.filter(({ object }) => isOurs(object)),
    serviceEntries: ours(resources.serviceEntries),
    workloadEntries: ours(resources.workloadEntries),
  };
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
