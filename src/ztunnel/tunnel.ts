/**
 * The node tunnel: deciders, engine, pods and DNS put together. It knows neither where its state comes from (control
 * plane or file) nor who tells it of pods (node agent or operator).
 *
 * Guarantees
 *  - A pod is served from `pods.add` until its delete; what is open then goes on for at most `drainMs`.
 *  - After drain() nothing new is accepted, and every connection has ended when it resolves.
 */
import type { Netns } from 'culvert-netns';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { MetricsRegistry } from '../core/metrics.ts';
import type { Engine, EngineHandlers, EngineListener, TlsCredentials } from '../engine/index.ts';
import type { Identity } from '../model/identity.ts';
import { INBOUND_HBONE_PORT } from '../model/ports.ts';
import type { Random } from '../model/upstream.ts';
import type { ConnectionRecord } from './connection-record.ts';
import { ConnectionTable } from './connection-table.ts';
import type { DeciderConfig } from './decider.ts';
import { type Demand, DemandedView } from './demanded-view.ts';
import { DnsForwarder } from './dns/dns-forwarder.ts';
import { handleDns } from './dns/dns-handler.ts';
import { DnsMetrics } from './dns/dns-metrics.ts';
import { kubernetesSearchDomains } from './dns/dns-name.ts';
import type { DnsHandler } from './dns/dns-server.ts';
import { HostnameResolver, type LookupRecords } from './dns/hostname-resolver.ts';
import type { ResolvConf } from './dns/resolv-conf.ts';
import { TunnelHandlers } from './handlers.ts';
import { PodMetrics } from './inpod/pod-metrics.ts';
import { PodProxies, type PodProxy } from './inpod/pod-proxies.ts';
import { Owners } from './owners.ts';
import { openPodListeners, type PodListenerConfig } from './pod-listeners.ts';
import { PolicyWait } from './policy-wait.ts';
import { POLICY_CHANGE, PolicyWatch } from './policy-watch.ts';
import { passQueuesOn } from './queue-migration.ts';
import type { MeshState } from './state/mesh-state.ts';
import type { PodInfo } from './state/workload-index.ts';
import { AccessLog } from './telemetry/access-log.ts';
import { TrafficMetrics } from './telemetry/traffic-metrics.ts';
import { TrafficTelemetry } from './telemetry/traffic-telemetry.ts';

export interface TunnelConfig {
  readonly decider: DeciderConfig;
  readonly listeners: PodListenerConfig;
  /** How long connections of a deleted pod may go on. */
  readonly drainMs: number;
  readonly clusterDomain: string;
  readonly preferredServiceNamespace: string | undefined;
  readonly resolvConf: ResolvConf;
  /** Search domains of the pod itself: only one pod is served, and its resolv.conf is ours. */
  readonly dedicated: boolean;
}

export interface TunnelDeps {
  readonly config: TunnelConfig;
  readonly state: MeshState;
  /** Set when the control plane tells only what it is asked for. */
  readonly demand?: Demand | undefined;
  readonly credentials: (identity: Identity, signal: AbortSignal) => Promise<TlsCredentials>;
  readonly makeEngine: (handlers: EngineHandlers) => Engine;
  readonly lookup: LookupRecords;
  readonly registry: MetricsRegistry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Pods became pending or ready. */
  readonly podsChanged?: () => void;
}

const NAMESERVER_PORT = 53;
const SELF_OWNER = 'self';

export class Tunnel {
  readonly engine: Engine;
  readonly pods: PodProxies<Netns>;
  readonly #deps: TunnelDeps;
  readonly #table: ConnectionTable;
  readonly #owners: Owners;
  readonly #dnsMetrics: DnsMetrics;
  readonly #stop = new AbortController();
  #selfListener: EngineListener | undefined;
  #dedicated: PodProxy | undefined;

  constructor(deps: TunnelDeps) {
    const { state, registry, log, clock, random, config } = deps;
    this.#deps = deps;
    const telemetry = new TrafficTelemetry(new AccessLog(log), new TrafficMetrics(registry));
    const resolver = new HostnameResolver({ lookup: deps.lookup, random, ipv6: config.listeners.ipv6, registry });
    this.#table = new ConnectionTable(telemetry);
    this.#owners = new Owners(state);
    this.#dnsMetrics = new DnsMetrics(registry);
    const policyWait = new PolicyWait({ state, clock }, this.#stop.signal);
    this.engine = deps.makeEngine(
      new TunnelHandlers({
        view: state,
        demanded: deps.demand && new DemandedView({ view: state, demand: deps.demand, clock }),
        policiesFor: (workload) => state.policiesFor(workload),
        config: config.decider,
        resolveHostname: (target, family, source) => resolver.resolve(target, family, source),
        owners: this.#owners,
        findOwnerOf: (workload) => this.#owners.findOwnerOf(workload),
        table: this.#table,
        telemetry,
        settlePolicies: (workload, signal) => policyWait.settle(workload, signal),
        credentials: deps.credentials,
        random,
        log: log.child('rbac'),
      }),
    );
    const unsubscribe = state.subscribe({ changed: () => this.engine.forgetDecisions() });
    this.#stop.signal.addEventListener('abort', unsubscribe, { once: true });
    const cut = (id: number): void => this.engine.cut(id, 'DENY', POLICY_CHANGE);
    new PolicyWatch({ state, table: this.#table, cut, clock, log }, this.#stop.signal);
    const metrics = new PodMetrics(registry, () => this.pods);
    this.pods = new PodProxies(
      {
        startProxy: (owner, info, netns) => this.#openPod(owner, info, netns),
        clock,
        log: log.child('inpod'),
        drainMs: config.drainMs,
        passQueuesOn: (netns) => passQueuesOn(netns, log),
        changed: () => deps.podsChanged?.(),
        metrics,
      },
      this.#stop.signal,
    );
  }

  /** Open connections of one pod's proxy. */
  connectionsOf(owner: string): Iterable<ConnectionRecord> {
    return this.#table.ofOwner(owner);
  }

  get connections(): number {
    return this.#table.size;
  }

  /** Listens on 15008 of the process' own namespace, so that the tunnel's own ports can be reached by HBONE. */
  async listenForSelf(info: PodInfo, identity: Identity): Promise<void> {
    this.#owners.add(SELF_OWNER, info, identity);
    const { ipv6, reusePort } = this.#deps.config.listeners;
    this.#selfListener = await this.engine.listen({
      kind: 'inbound-hbone',
      owner: SELF_OWNER,
      ip: ipv6 ? '::' : '0.0.0.0',
      port: INBOUND_HBONE_PORT,
      reusePort,
      transparent: false,
    });
  }

  /** Serves exactly one workload in the process' own namespace. */
  async listenDedicated(info: PodInfo): Promise<void> {
    this.#dedicated = await this.#openPod(SELF_OWNER, info, undefined);
  }

  /** Closes every listener at once, lets connections finish for `deadlineMs`, then cuts what is left. */
  async drain(deadlineMs: number): Promise<void> {
    await this.#selfListener?.close();
    const own = this.#dedicated?.drain(deadlineMs);
    await Promise.all([own, this.pods.drainAll(deadlineMs), this.engine.drainAll(deadlineMs)]);
    this.#stop.abort();
    await this.engine[Symbol.asyncDispose]();
  }

  async #openPod(owner: string, info: PodInfo, netns: Netns | undefined): Promise<PodProxy> {
    this.#owners.add(owner, info);
    try {
      const { config } = this.#deps;
      const dnsHandler = (signal: AbortSignal): DnsHandler => this.#dnsHandler(info, netns, signal);
      const proxy = await openPodListeners({ engine: this.engine, config: config.listeners, dnsHandler }, owner, netns);
      return {
        drain: async (deadlineMs) => {
          await proxy.drain(deadlineMs);
          this.#owners.delete(owner);
        },
      };
    } catch (error) {
      this.#owners.delete(owner);
      throw error;
    }
  }

  #dnsHandler(info: PodInfo, netns: Netns | undefined, signal: AbortSignal): DnsHandler {
    const { state, config, clock, random, log } = this.#deps;
    const { resolvConf, clusterDomain, preferredServiceNamespace, listeners, dedicated } = config;
    const { nameservers, search } = resolvConf;
    const forwarder = new DnsForwarder({ netns, mark: listeners.mark, nameservers, port: NAMESERVER_PORT }, signal);
    const deps = {
      view: state,
      client: () => state.waitForLocalWorkload(info, signal),
      forwarder,
      options: (namespace: string) => ({
        clusterDomain,
        searchDomains: dedicated ? search : kubernetesSearchDomains(namespace, clusterDomain),
        preferredNamespace: preferredServiceNamespace,
        ipv6: listeners.ipv6,
      }),
      metrics: this.#dnsMetrics,
      clock,
      random,
      log: log.child('dns'),
    };
    return (message, transport) => handleDns(message, transport, deps);
  }
}
