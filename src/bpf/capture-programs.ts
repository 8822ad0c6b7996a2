/**
 * The capture programs of one node: loaded, attached at the node's cgroup2 folder, and told which pods and tunnels there
 * are. Everything attached is pinned: it stays in force when this process ends, and `open` finds it again.
 *
 * Invariants
 *  - A pod's namespace is known by its cookie, a tunnel by the id of its cgroup; neither can be chosen by an app.
 *  - A pod's addresses are known before its inbound program is attached, and that is attached before capture is switched
 *    on; releasing goes the other way. A connection is captured or direct, never lost between the two.
 *  - With no tunnel listening, captured connections are refused.
 * Source: kernel documentation of sk_lookup and of cgroup sock_addr programs.
 */
import { rmSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { type BpfMap, type BpfProgram, RingBuffer } from 'ebpf-loader-ts';
import { MeshError } from '../core/errors.ts';
import { ensureBpffs } from './bpffs.ts';
import {
  type CaptureMapName,
  INBOUND_PROGRAM,
  loadCaptureObject,
  NODE_PROGRAMS,
  TUNNEL_GETSOCKOPT,
  TUNNEL_SOCKOPS,
} from './capture-object.ts';
import {
  addressKey,
  type CaptureEvent,
  COUNTER_NAMES,
  type CounterName,
  cookieKey,
  cookieOfExclusion,
  excludedPortKey,
  excludedRangeKey,
  POD_FLAGS,
  podConfigValue,
  readEvent,
  readPodFlags,
  u32Value,
} from './layout.ts';
import { PinnedLinks, withFd } from './pinned-links.ts';

export interface CaptureProgramsOptions {
  /** The deepest cgroup2 folder that holds all pods of this node. */
  readonly cgroupPath: string;
  /** Folder in a bpf file system, one for each node. */
  readonly pinDir: string;
  /** Sizes of maps, for tests. */
  readonly maxEntries?: Partial<Record<CaptureMapName, number>>;
}

/** A network namespace as its holder knows it. */
export interface NamespaceRef {
  readonly fd: number;
  cookie(): bigint;
}

export interface PodCapture {
  /** Every address of the pod; the first of each family receives its outbound connections. */
  readonly ips: readonly string[];
  readonly dns: boolean;
  readonly ingressBypass: boolean;
  readonly ipv6: boolean;
  /** TCP that is left alone. */
  readonly excluded?: PodExclusions;
}

export interface PodExclusions {
  readonly outboundPorts: readonly number[];
  readonly outboundRanges: readonly { readonly ip: string; readonly prefixLength: number }[];
  readonly inboundPorts: readonly number[];
}

export type PodCaptureState = 'absent' | 'inactive' | 'active';

export class CapturePrograms implements Disposable {
  readonly #programs: ReadonlyMap<string, BpfProgram>;
  readonly #maps: ReadonlyMap<CaptureMapName, BpfMap>;
  readonly #pinDir: string;
  readonly #nodeLinks: PinnedLinks;
  readonly #podLinks: PinnedLinks;
  readonly #tunnelLinks: PinnedLinks;

  private constructor(
    pinDir: string,
    programs: ReadonlyMap<string, BpfProgram>,
    maps: ReadonlyMap<CaptureMapName, BpfMap>,
  ) {
    this.#pinDir = pinDir;
    this.#programs = programs;
    this.#maps = maps;
    this.#nodeLinks = new PinnedLinks(join(pinDir, 'node'));
    this.#podLinks = new PinnedLinks(join(pinDir, 'pods'));
    this.#tunnelLinks = new PinnedLinks(join(pinDir, 'tunnels'));
  }

  /**
   * Loads the programs and attaches them, or puts them in place of those of an earlier run, whose maps are kept.
   * Rejects with ERR_UNSUPPORTED, and what ran before goes on.
   */
  static async open({ cgroupPath, pinDir, maxEntries }: CaptureProgramsOptions): Promise<CapturePrograms> {
    await ensureBpffs(pinDir);
    const mapDir = join(pinDir, 'maps');
    const loaded = loadCaptureObject({ mapDir, ...(maxEntries === undefined ? {} : { maxEntries }) });
    const capture = new CapturePrograms(pinDir, loaded.programs, loaded.maps);
    try {
      capture.#attachAll(cgroupPath);
      loaded.pinMaps();
      return capture;
    } catch (cause) {
      capture[Symbol.dispose]();
      throw new MeshError('ERR_UNSUPPORTED', `cannot attach the capture programs at ${cgroupPath}: ${String(cause)}`, {
        cause,
      });
    }
  }

  /** Throws why this machine cannot run the programs: loads and attaches them with nothing enrolled, then lets go. */
  static probe(cgroupPath: string): void {
    const { programs, maps } = loadCaptureObject({ mapDir: undefined });
    try {
      for (const name of NODE_PROGRAMS) programs.get(name)?.attachCgroup(cgroupPath)[Symbol.dispose]();
    } finally {
      for (const resource of [...programs.values(), ...maps.values()]) resource[Symbol.dispose]();
    }
  }

  /** Makes the pod known without changing the way of its connections. May be repeated; keeps an active pod active. */
  prepare(netns: NamespaceRef, pod: PodCapture): void {
    this.#configure(netns.cookie(), pod, this.state(netns) === 'active');
  }

  /** New connections of the pod are captured when this returns; also applies changed options. May be repeated. */
  enrol(netns: NamespaceRef, pod: PodCapture): void {
    const cookie = netns.cookie();
    if (this.state(netns) !== 'active') this.#configure(cookie, pod, false);
    const target = { fd: netns.fd, id: statNetns(netns.fd), what: 'the namespace of a pod' };
    this.#podLinks.attach(cookie.toString(), this.#program(INBOUND_PROGRAM), target);
    this.#configure(cookie, pod, true);
  }

  /** New connections are direct when this returns; captured ones go on. May be repeated. */
  release(netns: NamespaceRef): void {
    const cookie = netns.cookie();
    const pods = this.#map('pods');
    const config = pods.get(cookieKey(cookie));
    if (config !== undefined) {
      config.writeUInt32LE(readPodFlags(config) & ~POD_FLAGS.active);
      pods.set(cookieKey(cookie), config);
    }
    this.#podLinks.remove(cookie.toString());
  }

  /** Forgets a namespace, alive or not: link, configuration and addresses. May be repeated. */
  forget(cookie: bigint): void {
    this.#podLinks.remove(cookie.toString());
    this.#map('pods').delete(cookieKey(cookie));
    this.#setOwned(cookie, []);
    this.#setExcluded(cookie, undefined);
  }

  /** Forgets the namespaces that are gone and returns their number. */
  sweep(): number {
    const dead = this.#podLinks.names().filter((name) => !this.#podLinks.isAlive(name));
    for (const name of dead) this.forget(BigInt(name));
    return dead.length;
  }

  /** What is in force for that namespace. */
  state(netns: NamespaceRef): PodCaptureState {
    const cookie = netns.cookie();
    const config = this.#map('pods').get(cookieKey(cookie));
    if (config === undefined) return 'absent';
    const isActive = (readPodFlags(config) & POD_FLAGS.active) !== 0;
    return isActive && this.#podLinks.isAlive(cookie.toString()) ? 'active' : 'inactive';
  }

  /**
   * Makes the processes of a cgroup2 folder known as a tunnel: what they connect is not captured, and listeners that they
   * open from now on serve the pods. A tunnel that is new takes over at once; one that is known keeps its place, so that
   * the order in which tunnels come back to a restarted agent does not matter. May be repeated.
   */
  joinTunnel(cgroupPath: string): void {
    this.#dropDeadTunnels();
    const id = statSync(cgroupPath, { bigint: true }).ino;
    const tunnels = this.#map('tunnels');
    const known = tunnels.get(cookieKey(id))?.readUInt32LE();
    const slot = known ?? this.#freeSlot();
    this.#attachTunnel(id, slot, cgroupPath);
    tunnels.set(cookieKey(id), u32Value(slot));
    if (known === undefined) this.#map('current_slot').set(u32Value(0), u32Value(slot));
  }

  /** Since the programs were first loaded on this node. */
  counters(): Readonly<Record<CounterName, bigint>> {
    const counters = this.#map('counters');
    const total = (index: number): bigint =>
      (counters.getPerCpu(u32Value(index)) ?? []).reduce((sum, value) => sum + value.readBigUInt64LE(), 0n);
    return Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, total(index)])) as Record<CounterName, bigint>;
  }

  /** Refusals as they happen, rate limited in the kernel. One reader per node; ends when `signal` aborts. */
  async *events(signal: AbortSignal): AsyncGenerator<CaptureEvent, void, undefined> {
    using ring = new RingBuffer(this.#map('events'));
    const stop = (): void => ring[Symbol.dispose]();
    if (signal.aborted) return;
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const record of ring) yield readEvent(record);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Detaches everything and removes all pins. Dispose afterwards. */
  remove(): void {
    removePins(this.#pinDir);
  }

  /** Closes the handles; what is attached stays in force. */
  [Symbol.dispose](): void {
    for (const resource of [...this.#programs.values(), ...this.#maps.values()]) resource[Symbol.dispose]();
  }

  #attachAll(cgroupPath: string): void {
    const id = statSync(cgroupPath, { bigint: true }).ino;
    this.#refreshTunnels();
    for (const name of this.#podLinks.names()) this.#podLinks.refresh(name, this.#program(INBOUND_PROGRAM));
    withFd(cgroupPath, (fd) => {
      for (const name of NODE_PROGRAMS) {
        this.#nodeLinks.attach(name, this.#program(name), { fd, id, what: `cgroup ${cgroupPath}` });
      }
    });
  }

  #configure(cookie: bigint, pod: PodCapture, active: boolean): void {
    const ip4 = pod.ips.find((ip) => isIP(ip) === 4);
    const ip6 = pod.ips.find((ip) => isIP(ip) === 6);
    const flags =
      (active ? POD_FLAGS.active : 0) |
      (pod.dns ? POD_FLAGS.dns : 0) |
      (pod.ingressBypass ? POD_FLAGS.ingressBypass : 0) |
      (pod.ipv6 ? POD_FLAGS.ipv6 : 0) |
      (pod.excluded ? POD_FLAGS.exclusions : 0);
    const pods = this.#map('pods');
    try {
      this.#setOwned(cookie, pod.ips);
      this.#setExcluded(cookie, pod.excluded);
      pods.set(cookieKey(cookie), podConfigValue({ flags, ip4, ip6 }));
    } catch (error) {
      if (pods.get(cookieKey(cookie)) === undefined) {
        this.#setOwned(cookie, []); // a map is full: leave nothing of it
        this.#setExcluded(cookie, undefined);
      }
      throw error;
    }
  }

  /** New addresses are written before old ones go. */
  #setOwned(cookie: bigint, ips: readonly string[]): void {
    const owners = this.#map('owners');
    const wanted = ips.map(addressKey);
    for (const key of wanted) owners.set(key, cookieKey(cookie));
    const stale = [...owners.entries()].filter(
      ([key, value]) => value.readBigUInt64LE() === cookie && !wanted.some((ip) => ip.equals(key)),
    );
    for (const [key] of stale) owners.delete(key);
  }

  /** Most pods exclude nothing and never had anything in these maps, which a walk over them tells. */
  #setExcluded(cookie: bigint, excluded: PodExclusions | undefined): void {
    const { inboundPorts = [], outboundPorts = [], outboundRanges = [] } = excluded ?? {};
    const wanted = {
      excluded_ports: [
        ...inboundPorts.map((port) => excludedPortKey(cookie, port, 'inbound')),
        ...outboundPorts.map((port) => excludedPortKey(cookie, port, 'outbound')),
      ],
      excluded_ranges: outboundRanges.map((range) => excludedRangeKey(cookie, range)),
    };
    for (const name of ['excluded_ports', 'excluded_ranges'] as const) {
      const map = this.#map(name);
      for (const key of wanted[name]) map.set(key, Buffer.from([1]));
      for (const key of [...map.keys()]) {
        if (cookieOfExclusion(key) === cookie && !wanted[name].some((kept) => kept.equals(key))) map.delete(key);
      }
    }
  }

  #attachTunnel(id: bigint, slot: number, cgroupPath: string): void {
    withFd(cgroupPath, (fd) => {
      const target = { fd, id, what: `cgroup ${cgroupPath}` };
      this.#tunnelLinks.attach(`${id}-getsockopt`, this.#program(TUNNEL_GETSOCKOPT), target);
      this.#tunnelLinks.attach(`${id}-sockops`, this.#program(tunnelSockops(slot)), target);
    });
  }

  /** Puts the new programs in place for the tunnels of an earlier run. */
  #refreshTunnels(): void {
    for (const [key, value] of this.#map('tunnels').entries()) {
      const id = key.readBigUInt64LE();
      this.#tunnelLinks.refresh(`${id}-getsockopt`, this.#program(TUNNEL_GETSOCKOPT));
      this.#tunnelLinks.refresh(`${id}-sockops`, this.#program(tunnelSockops(value.readUInt32LE())));
    }
  }

  #dropDeadTunnels(): void {
    for (const key of [...this.#map('tunnels').keys()]) {
      const id = key.readBigUInt64LE();
      if (this.#tunnelLinks.isAlive(`${id}-sockops`)) continue;
      this.#tunnelLinks.remove(`${id}-sockops`);
      this.#tunnelLinks.remove(`${id}-getsockopt`);
      this.#map('tunnels').delete(key);
    }
  }

  /** A slot without a tunnel; when both have one, that of the tunnel that was replaced before. */
  #freeSlot(): number {
    const taken = new Set([...this.#map('tunnels').entries()].map(([, value]) => value.readUInt32LE()));
    const replaced = 1 - ((this.#map('current_slot').get(u32Value(0))?.readUInt32LE() ?? 0) & 1);
    return taken.has(replaced) && !taken.has(1 - replaced) ? 1 - replaced : replaced;
  }

  #map(name: CaptureMapName): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new MeshError('ERR_NOT_FOUND', `no capture map ${name}`);
    return map;
  }

  #program(name: string): BpfProgram {
    const program = this.#programs.get(name);
    if (program === undefined) throw new MeshError('ERR_NOT_FOUND', `no capture program ${name}`);
    return program;
  }
}

/** Detaches and removes all that is pinned below `pinDir`, without loading anything. No error when there is nothing. */
export function removePins(pinDir: string): void {
  for (const folder of ['node', 'pods', 'tunnels']) new PinnedLinks(join(pinDir, folder)).removeAll();
  rmSync(pinDir, { recursive: true, force: true });
}

function tunnelSockops(slot: number): string {
  return TUNNEL_SOCKOPS[slot === 0 ? 0 : 1];
}

/** The number that a link reports for a namespace. */
function statNetns(fd: number): bigint {
  return statSync(`/proc/self/fd/${fd}`, { bigint: true }).ino;
}
