/**
 * A mesh in one process: nodes with real tunnels, pods in real namespaces, one certificate authority, and a state that
 * the test writes as a control plane would.
 */
import type { Netns } from 'culvert-netns';
import { type LogSink, LogWriter } from '../../src/core/log-writer.ts';
import { newMetricsRegistry } from '../../src/core/metrics.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import type { Authorization } from '../../src/model/authorization.ts';
import { identityUri } from '../../src/model/identity.ts';
import { ILLEGAL_PORTS, SOURCE_PRESERVING_MARK, TUNNEL_MARK } from '../../src/model/ports.ts';
import type { Service } from '../../src/model/service.ts';
import type { Workload } from '../../src/model/workload.ts';
import { CertificateAuthority, CertificateCache, selfIssuing } from '../../src/pki/index.ts';
import { MeshState, Tunnel } from '../../src/ztunnel/index.ts';
import { workload } from '../support/mesh-objects.ts';
import { newEngine } from './engine.ts';
import { captureTraffic, Fabric, type Namespace } from './fabric.ts';

export interface Pod extends Namespace {
  readonly uid: string;
  readonly workload: Workload;
}

export interface Node {
  readonly name: string;
  readonly tunnel: Tunnel;
  readonly state: MeshState;
  readonly log: string[];
  readonly registry: ReturnType<typeof newMetricsRegistry>;
}

export interface PodOptions {
  readonly node?: string;
  /** Served by its node's tunnel, with its traffic captured. */
  readonly meshed?: boolean;
  readonly fields?: Partial<Workload>;
}

export interface MeshOptions {
  /** Two pods of one node talk by HBONE, too. */
  readonly alwaysEncrypt?: boolean;
  readonly drainMs?: number;
  readonly nameservers?: readonly string[];
  /** Networks of the nodes; '' where absent. */
  readonly networks?: Readonly<Record<string, string>>;
}

export class Mesh implements AsyncDisposable {
  readonly fabric: Fabric;
  readonly authority: CertificateAuthority;
  readonly #options: MeshOptions;
  readonly #nodes = new Map<string, Node>();
  readonly #caches: CertificateCache[] = [];
  readonly #workloads = new Map<string, Workload>();
  readonly #services: Service[] = [];
  #pods = 0;

  private constructor(fabric: Fabric, authority: CertificateAuthority, options: MeshOptions) {
    this.fabric = fabric;
    this.authority = authority;
    this.#options = options;
  }

  static async start(options: MeshOptions = {}): Promise<Mesh> {
    const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
    const mesh = new Mesh(await Fabric.create(), authority, options);
    for (const name of ['a', 'b']) mesh.#startNode(name);
    return mesh;
  }

  node(name: string): Node {
    const node = this.#nodes.get(name);
    if (!node) throw new Error(`no node ${name}`);
    return node;
  }

  /** A pod on node `a`, meshed, with an identity after its name, unless the options say otherwise. */
  async pod(name: string, { node = 'a', meshed = true, fields = {} }: PodOptions = {}): Promise<Pod> {
    const namespace = await this.fabric.add();
    this.#pods += 1;
    const uid = `00000000-0000-0000-0000-${String(this.#pods).padStart(12, '0')}`;
    const pod: Pod = {
      ...namespace,
      uid,
      workload: workload({
        name,
        node,
        addresses: [namespace.ip4, namespace.ip6],
        tunnelProtocol: meshed ? 'HBONE' : 'NONE',
        ...fields,
      }),
    };
    this.update(pod.workload);
    if (meshed) {
      await captureTraffic(namespace);
      await this.enrol(pod, namespace.netns);
    }
    return pod;
  }

  /** What the node agent's Add does. */
  async enrol({ uid, workload: { name, namespace, serviceAccount, node } }: Pod, netns: Netns): Promise<void> {
    await this.node(node).tunnel.pods.add(uid, { name, namespace, serviceAccount }, netns.duplicate());
  }

  update(...objects: readonly (Workload | Service)[]): void {
    for (const object of objects) {
      if ('uid' in object) this.#workloads.set(object.uid, object);
      else this.#services.push(object);
    }
    const updates = objects.map((object) =>
      'uid' in object ? { kind: 'workload' as const, workload: object } : { kind: 'service' as const, service: object },
    );
    for (const { state } of this.#nodes.values()) state.applyAddresses({ updates, removed: [] });
  }

  policies(updates: readonly Authorization[], removed: readonly string[] = []): void {
    for (const { state } of this.#nodes.values()) state.applyPolicies({ updates, removed });
  }

  /** Lines of a node's log that contain every one of these texts. */
  lines(node: string, ...texts: readonly string[]): readonly string[] {
    return this.node(node).log.filter((line) => texts.every((text) => line.includes(text)));
  }

  metrics(node: string): Promise<string> {
    return this.node(node).registry.metrics();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(({ tunnel }) => tunnel.drain(0)));
    for (const cache of this.#caches) await cache[Symbol.asyncDispose]();
    await this.fabric[Symbol.asyncDispose]();
  }

  #startNode(name: string): void {
    const log: string[] = [];
    const sink: LogSink = { write: (line) => void log.push(line), flush() {}, pendingBytes: 0 };
    const { logger } = new LogWriter({ format: 'plain', filter: 'info', sink });
    const registry = newMetricsRegistry();
    const state = new MeshState({ node: name, clock: systemClock });
    const cache = new CertificateCache({
      source: selfIssuing(this.authority),
      clock: systemClock,
      log: logger,
      random: Math.random,
      concurrency: 8,
    });
    this.#caches.push(cache);
    const tunnel = new Tunnel({
      config: {
        decider: {
          network: this.#options.networks?.[name] ?? '',
          illegalPorts: ILLEGAL_PORTS,
          preserveSource: true,
          responseBaggage: true,
          localhostAppTunnel: true,
          joinOnNode: !this.#options.alwaysEncrypt,
          policyInfoLog: false,
        },
        listeners: { ipv6: true, mark: TUNNEL_MARK, reusePort: true, transparent: true, dnsPort: 15_053 },
        drainMs: this.#options.drainMs ?? 5_000,
        clusterDomain: 'cluster.local',
        preferredServiceNamespace: undefined,
        resolvConf: { nameservers: this.#options.nameservers ?? [], search: [] },
        dedicated: false,
      },
      state,
      credentials: (identity, signal) => cache.get(identity, signal),
      makeEngine: (handlers) =>
        newEngine(handlers, {
          maxStreamsPerSession: 100,
          poolIdleTimeoutMs: 300_000,
          connectTimeoutMs: 10_000,
          streamWindowBytes: 4 * 1024 * 1024,
          connectionWindowBytes: 16 * 1024 * 1024,
          frameSizeBytes: 1024 * 1024,
          mark: TUNNEL_MARK,
          sourcePreservingMark: SOURCE_PRESERVING_MARK,
          keepalive: { timeMs: 180_000, intervalMs: 180_000, retries: 9 },
          userTimeout: false,
        }),
      lookup: async () => [],
      registry,
      clock: systemClock,
      random: Math.random,
      log: logger,
    });
    this.#nodes.set(name, { name, tunnel, state, log, registry });
  }
}

/** SPIFFE id of a pod. */
export function spiffeId({ workload: own }: Pod): string {
  return identityUri(own);
}
