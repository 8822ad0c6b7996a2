/**
 * The layer 7 part of one translation: after services and workloads are known, everything that gateways are told, and
 * the statuses of Gateways and routes.
 *
 * A new kind of route: a translator that gives `AttachedRoute`s, called in `#routes`. A new kind of policy: a list beside
 * `authorizations`, and its keys in what is bound.
 */
import type { AuthorizationProvider, BoundService, Cluster, TelemetrySettings } from '../../../model/l7/index.ts';
import type { Workload } from '../../../model/workload.ts';
import type { GatewayResources } from '../../gateway-ir.ts';
import type { StatusPatch } from '../../ir.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { nameOf, namespaceOf, type Resources } from '../../resources.ts';
import type { Memo } from '../memo.ts';
import type { NamespaceScope } from '../pod-workload.ts';
import type { Labels } from '../selector.ts';
import type { ServiceInfo } from '../service-info.ts';
import { GATEWAY_NAME } from '../waypoint.ts';
import type { AttachedRoute } from './attached-routes.ts';
import { authorizationProviders } from './authorization-providers.ts';
import { toCluster, toEndpoints } from './clusters.ts';
import { referredClusters, toConfig, withRoutes } from './gateway-resources.ts';
import { isReadyReplica, servedGatewayStatus } from './gateway-status.ts';
import { translateGrpcRoute } from './grpc-route.ts';
import { translateHttpRoute } from './http-route.ts';
import { readCredentials } from './istio/credentials.ts';
import { DestinationRules } from './istio/destination-rules.ts';
import { translateVirtualService, type VirtualSurroundings } from './istio/virtual-service.ts';
import { translateTcpRoute, translateTlsRoute } from './l4-routes.ts';
import { type Fields, readMeshConfig } from './mesh-config.ts';
import { PolicyPass } from './policy-pass.ts';
import type { RouteObject, RouteSurroundings, TranslatedRoute } from './route-parents.ts';
import type { ServedGateway, ServedGateways } from './served-gateways.ts';
import { telemetrySettings, telemetryStatus } from './telemetry-settings.ts';

export interface L7Input {
  readonly resources: Resources;
  readonly settings: MeshSettings;
  readonly network: string;
  readonly memo: Memo;
  readonly served: ServedGateways;
  readonly infos: readonly ServiceInfo[];
  readonly workloads: readonly Workload[];
  readonly scopeOf: (namespace: string) => NamespaceScope;
}

export interface L7Output {
  readonly gateways: readonly GatewayResources[];
  readonly statuses: readonly StatusPatch[];
}

const NO_LABELS: Labels = {};

export function translateL7(input: L7Input): L7Output {
  return new L7Pass(input).run();
}

class L7Pass {
  readonly #input: L7Input;
  readonly #byKey: ReadonlyMap<string, ServiceInfo>;
  readonly #rules: DestinationRules;

  constructor(input: L7Input) {
    this.#input = input;
    this.#byKey = new Map(input.infos.map((info) => [info.key, info]));
    this.#rules = new DestinationRules(input.resources.destinationRules, input.settings);
  }

  run(): L7Output {
    const { served } = this.#input;
    const translated = this.#routes();
    const labels = this.#labels();
    const policies = new PolicyPass({ ...this.#input, labelsOf: labels });
    const routes = translated.flatMap((one) => one.routes);
    const providers = this.#input.memo.get('authorization providers', [this.#mesh(), this.#input.infos], () =>
      authorizationProviders(this.#mesh(), (hostname) => this.#findHost(hostname, '')?.key),
    );
    const given = { routes, endpoints: this.#workloadsByService(), labels, policies, providers };
    const gateways = [...served.values()].map((gateway) => this.#gateway(gateway, given));
    const statuses = [
      ...translated.map(({ status }) => status),
      ...policies.statuses,
      ...this.#input.resources.telemetries.map(telemetryStatus),
      ...this.#rules.statuses(), // when the rules have been applied
      ...[...served.values()].map((one) => this.#status(one, routes)),
    ];
    return { gateways, statuses };
  }

  #routes(): readonly TranslatedRoute[] {
    const { resources, memo, served, infos } = this.#input;
    const around = this.#surroundings();
    // Routes depend on services by what they name; the whole list is one dependency, as most changes touch endpoints.
    const dependencies = [served, infos, resources.referenceGrants, resources.namespaces];
    const each = <T extends RouteObject>(
      objects: readonly T[],
      translate: (object: T, given: RouteSurroundings) => TranslatedRoute,
    ): readonly TranslatedRoute[] =>
      objects.map((object) =>
        memo.get(`${object.kind} ${nameOf(object)}`, [object, ...dependencies], () => translate(object, around)),
      );
    return [
      ...each(resources.httpRoutes, translateHttpRoute),
      ...each(resources.grpcRoutes, translateGrpcRoute),
      ...each(resources.tlsRoutes, translateTlsRoute),
      ...each(resources.tcpRoutes, translateTcpRoute),
      ...this.#virtualServices(),
    ];
  }

  #virtualServices(): readonly TranslatedRoute[] {
    const { resources, memo, served, infos, settings } = this.#input;
    const { virtualServices, destinationRules } = resources;
    const byName = new Map(virtualServices.map((one) => [nameOf(one), one]));
    const gatewayNamespaces = new Set([...served.values()].map(({ gateway }) => namespaceOf(gateway)));
    const around: VirtualSurroundings = {
      gateways: served,
      infos,
      findVirtualService: (key) => byName.get(key),
      catalog: {
        clusterDomain: settings.clusterDomain,
        findHost: (hostname, namespace) => this.#findHost(hostname, namespace),
        hasSubset: (info, subset) => this.#rules.hasSubset(info, subset, gatewayNamespaces),
      },
    };
    const dependencies = [served, infos, virtualServices, destinationRules];
    return virtualServices.map((object) =>
      memo.get(`VirtualService ${nameOf(object)}`, [object, ...dependencies], () =>
        translateVirtualService(object, around),
      ),
    );
  }

  #surroundings(): RouteSurroundings {
    const { served, infos, resources } = this.#input;
    const services = new Map<string, ServiceInfo[]>();
    for (const info of infos) {
      const key = `${info.origin} ${info.service.namespace}/${info.service.name}`;
      const list = services.get(key);
      if (list) list.push(info);
      else services.set(key, [info]);
    }
    const labels = new Map(resources.namespaces.map(({ metadata }) => [metadata.name, metadata.labels ?? NO_LABELS]));
    return {
      gateways: served,
      catalog: {
        services,
        findHost: (hostname, namespace) => this.#findHost(hostname, namespace),
        grants: resources.referenceGrants,
      },
      namespaceLabels: (namespace) => labels.get(namespace) ?? NO_LABELS,
    };
  }

  /** A host name as its own namespace means it. */
  #findHost(hostname: string, namespace: string): ServiceInfo | undefined {
    const own = this.#byKey.get(`${namespace}/${hostname}`);
    return own ?? this.#input.infos.find(({ service }) => service.hostname === hostname);
  }

  #mesh(): Fields {
    const { resources, settings, memo } = this.#input;
    return memo.get('mesh config', [resources.configMaps, resources.operators], () =>
      readMeshConfig(resources, settings.rootNamespace),
    );
  }

  #telemetry({ gateway, key }: ServedGateway): TelemetrySettings {
    const { resources, settings, memo } = this.#input;
    const mesh = this.#mesh();
    return memo.get(`l7 telemetry ${key}`, [gateway, mesh, resources.telemetries], () => {
      const place = { namespace: namespaceOf(gateway), name: gateway.metadata.name };
      return telemetrySettings(resources.telemetries, place, { mesh, rootNamespace: settings.rootNamespace });
    });
  }

  #gateway(
    gateway: ServedGateway,
    given: {
      readonly routes: readonly AttachedRoute[];
      readonly endpoints: ReadonlyMap<string, readonly Workload[]>;
      readonly labels: (uid: string) => Labels;
      readonly policies: PolicyPass;
      readonly providers: readonly AuthorizationProvider[];
    },
  ): GatewayResources {
    const { memo, infos, settings, network } = this.#input;
    const { key } = gateway;
    const { policies } = given;
    const attached = {
      policies: policies.attached('AuthorizationPolicy', key),
      authentications: policies.attached('RequestAuthentication', key),
      rateLimits: policies.attached('RateLimitPolicy', key),
      authorizationProviders: given.providers,
    };
    const telemetry = this.#telemetry(gateway);
    const config = memo.get(`l7 ${key}`, [gateway.gateway, network, telemetry, ...Object.values(attached)], () => ({
      ...toConfig(gateway, settings, network),
      ...attached,
      telemetry,
    }));
    const bound = infos.filter(({ wanted }) => wanted.includes(key));
    const ofGateway = given.routes.filter(({ parent }) => parent.kind === 'GATEWAY' && parent.key === key);
    const routed = bound.map((info) => {
      const own = given.routes.filter(({ parent }) => parent.kind === 'SERVICE' && parent.key === info.key);
      const routes = [...own, ...ofGateway];
      return memo.get(`l7 ${key} service ${info.key}`, [info, routes], () => withRoutes(info, routes));
    });
    const services = routed.map((service) => {
      const own = `${service.namespace}/${service.hostname}`;
      const selected = [...referredClusters(service)].flatMap((name) => given.endpoints.get(name) ?? []);
      const authentications = [
        ...policies.attached('RequestAuthentication', own),
        ...policies.selectedAuthentications(selected),
      ];
      const attachedHere = {
        policies: policies.attached('AuthorizationPolicy', own),
        authentications,
        rateLimits: policies.attached('RateLimitPolicy', own),
      };
      const limited = policies.limitedRoutes();
      return memo.get(`l7 ${key} guarded ${own}`, [service, limited, ...Object.values(attachedHere)], () => ({
        ...withRateLimits(service, policies),
        ...attachedHere,
      }));
    });
    const limitKeys = [...attached.rateLimits, ...services.flatMap(rateLimitKeys)];
    const rateLimits = policies.rateLimits(limitKeys);
    const asked = given.providers.map(({ cluster }) => cluster);
    const called = rateLimits.flatMap(({ limits }) => limits.flatMap(({ global }) => (global ? [global.cluster] : [])));
    const referred = new Set(
      [...asked, ...called].concat(services.flatMap((service) => [...referredClusters(service)])),
    );
    const clusters = [...referred].flatMap((name) => {
      const info = this.#byKey.get(name);
      return info ? [info] : [];
    });
    const resources = {
      gateway: key,
      config,
      services,
      workloads: [],
      clusters: clusters.map((info) => this.#cluster(info, gateway)),
      endpoints: clusters.map((info) => {
        const workloads = given.endpoints.get(info.key) ?? [];
        const labels = workloads.map(({ uid }) => given.labels(uid));
        const enforced = new Map(workloads.map((workload) => [workload.uid, policies.endpointPolicies(workload)]));
        const keys = [...enforced].map(([uid, list]) => `${uid} ${list.join(' ')}`);
        return memo.get(`l7 endpoints ${info.key}`, [info, workloads, labels, keys], () =>
          toEndpoints(info, workloads, (uid) => ({ labels: given.labels(uid), policies: enforced.get(uid) ?? [] })),
        );
      }),
    };
    const guarded = [config, ...services];
    const ofEndpoints = resources.endpoints.flatMap((one) => one.endpoints.flatMap((endpoint) => endpoint.policies));
    return {
      ...resources,
      authorizations: policies.authorizations([...guarded.flatMap((one) => one.policies), ...ofEndpoints]),
      authentications: policies.authentications(guarded.flatMap((one) => one.authentications)),
      rateLimits,
    };
  }

  #cluster(info: ServiceInfo, { key, gateway }: ServedGateway): Cluster {
    const { memo, resources } = this.#input;
    const namespace = namespaceOf(gateway);
    const rules = this.#rules.find(info, namespace);
    const findCredentials = (name: string) => {
      const secret = resources.secrets.find((one) => nameOf(one) === `${namespace}/${name}`);
      return secret && readCredentials(secret);
    };
    const cluster = memo.get(`l7 cluster ${info.key}`, [info], () => toCluster(info));
    if (rules.length === 0) return cluster;
    // Not remembered by its dependencies: rules tell their problems while they are applied.
    const ports = this.#rules.apply(cluster.ports, rules, findCredentials);
    return memo.get(`l7 ${key} cluster ${info.key}`, [{}], () => ({ ...cluster, ports }));
  }

  #status(gateway: ServedGateway, routes: readonly AttachedRoute[]): StatusPatch {
    const { resources, settings, memo } = this.#input;
    const { key } = gateway;
    const service = resources.services.find((one) => nameOf(one) === key);
    const hasReadyEndpoint = resources.pods.some(
      (pod) => `${namespaceOf(pod)}/${pod.metadata.labels?.[GATEWAY_NAME] ?? ''}` === key && isReadyReplica(pod),
    );
    const attached = new Set(routes.flatMap(({ parent, name }) => (parent.key === key ? [name] : []))).size;
    return memo.get(`gateway status ${key}`, [gateway.gateway, service, hasReadyEndpoint, attached], () =>
      servedGatewayStatus(gateway, { service, hasReadyEndpoint, attachedRoutes: attached, settings }),
    );
  }

  #workloadsByService(): ReadonlyMap<string, readonly Workload[]> {
    const found = new Map<string, Workload[]>();
    for (const workload of this.#input.workloads) {
      for (const key of workload.services.keys()) {
        const list = found.get(key);
        if (list) list.push(workload);
        else found.set(key, [workload]);
      }
    }
    return found;
  }

  /** Labels of pods and entries by uid of their workload. */
  #labels(): (uid: string) => Labels {
    const { resources, settings } = this.#input;
    const labels = new Map<string, Labels>();
    for (const pod of resources.pods) {
      labels.set(`${settings.clusterId}//Pod/${nameOf(pod)}`, pod.metadata.labels ?? NO_LABELS);
    }
    for (const { metadata, spec } of resources.workloadEntries) {
      const uid = `${settings.clusterId}/networking.istio.io/WorkloadEntry/${metadata.namespace}/${metadata.name}`;
      labels.set(uid, spec.labels ?? metadata.labels ?? NO_LABELS);
    }
    for (const { metadata, spec } of resources.serviceEntries) {
      const base = `${settings.clusterId}/networking.istio.io/ServiceEntry/${metadata.namespace}/${metadata.name}`;
      for (const endpoint of spec.endpoints ?? []) {
        labels.set(`${base}/${endpoint.address ?? ''}`, endpoint.labels ?? NO_LABELS);
      }
    }
    return (uid) => labels.get(uid) ?? NO_LABELS;
  }
}

function withRateLimits(service: BoundService, policies: PolicyPass): BoundService {
  if (policies.limitedRoutes().length === 0) return service;
  const ports = service.ports.map((port) => ({
    ...port,
    virtualHosts: port.virtualHosts.map((host) => ({
      ...host,
      routes: host.routes.map((route) => ({ ...route, rateLimits: policies.routeLimits(route.name) })),
    })),
  }));
  return { ...service, ports };
}

function rateLimitKeys({ rateLimits, ports }: BoundService): readonly string[] {
  const routes = ports.flatMap(({ virtualHosts }) => virtualHosts.flatMap((host) => host.routes));
  return [...rateLimits, ...routes.flatMap((route) => route.rateLimits)];
}
