/**
 * Redirection by eBPF at the socket layer: no rule, no conntrack and no other program in the pod but the return path.
 * Outbound connections are redirected in connect() by programs at the cgroup2 folder of the node's pods, inbound ones in
 * the lookup of a listener by a program at the pod's namespace. No iptables or nft binary is run.
 *
 * Invariants
 *  - The tunnel is exempted by its cgroup, not by a mark that an app could set.
 *  - What is attached is pinned: the end of this process changes nothing, and `open` takes it over.
 * Limits: all outbound connections of a pod end at one address and port of its own, so that it can have no more of them
 * at a time than ephemeral ports; a socket bound to a device (SO_BINDTODEVICE) cannot connect; raw sockets are not seen.
 */
import type { Netns } from 'culvert-netns';
import { type CaptureEvent, CapturePrograms, type CounterName, type PodCapture, removePins } from '../../bpf/index.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { CapturedPod, CaptureOptions, CaptureState, RedirectBackend, Usability } from './port.ts';
import { installReturnPath, removeReturnPath } from './return-path.ts';
import { findTunnelCgroup } from './tunnel-cgroup.ts';

export interface EbpfOptions {
  /** The deepest cgroup2 folder that holds all pods of the node: `kubepods.slice`. Never shared with another node. */
  readonly podsCgroup: string;
  /** Folder for pins in a bpf file system, one for each node. */
  readonly pinDir: string;
  /** Where tunnels are seen under the pids that `tunnelConnected` is given; this process's own when absent. */
  readonly procDir?: string;
  readonly log: Logger;
}

const STATES = { absent: 'absent', inactive: 'draining', active: 'capturing' } as const;

export class EbpfBackend implements RedirectBackend {
  readonly name = 'ebpf';
  readonly #options: EbpfOptions;
  readonly #abort = new AbortController();
  readonly #cookies = new Map<string, bigint>();
  #programs: CapturePrograms | undefined;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: EbpfOptions) {
    this.#options = options;
  }

  async probe(): Promise<Usability> {
    try {
      CapturePrograms.probe(this.#options.podsCgroup);
      return { usable: true };
    } catch (error) {
      return { usable: false, reason: errorMessage(error) };
    }
  }

  refusal(options: CaptureOptions): string | undefined {
    if (options.virtualInterfaces.length === 0) return undefined;
    return 'eBPF capture sees sockets only, not what virtual machines and nested containers send';
  }

  async open(): Promise<void> {
    const { podsCgroup, pinDir } = this.#options;
    this.#programs = await CapturePrograms.open({ cgroupPath: podsCgroup, pinDir });
    this.#programs.sweep();
    this.#watching = this.#watch(this.#programs);
  }

  async prepare({ uid, netns, ips, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
    this.#change('prepare', uid, netns, (programs) => programs.prepare(netns, toPodCapture(ips, options)));
  }

  async capture({ uid, netns, ips, options }: CapturedPod): Promise<void> {
    installReturnPath(netns, options.ipv6);
    this.#change('capture', uid, netns, (programs) => programs.enrol(netns, toPodCapture(ips, options)));
  }

  async release({ uid, netns }: CapturedPod): Promise<void> {
    this.#change('release', uid, netns, (programs) => programs.release(netns));
  }

  async clear({ uid, netns, options }: CapturedPod): Promise<void> {
    this.#change('clear', uid, netns, (programs) => programs.forget(netns.cookie()));
    removeReturnPath(netns, options.ipv6);
  }

  async inspect({ netns }: CapturedPod): Promise<CaptureState> {
    return STATES[this.#opened().state(netns)];
  }

  /** A pod that this process did not see is found by its dead namespace. */
  async forget({ uid }: { readonly uid: string }): Promise<void> {
    const cookie = this.#cookies.get(uid);
    if (cookie !== undefined) this.#opened().forget(cookie);
    this.#cookies.delete(uid);
    this.#opened().sweep();
  }

  async tunnelConnected(pid: number): Promise<void> {
    const { podsCgroup, procDir = '/proc' } = this.#options;
    const cgroup = await findTunnelCgroup(pid, { podsCgroup, procDir });
    attempt('register the tunnel', () => this.#opened().joinTunnel(cgroup));
  }

  /** Since the programs were first loaded on this node. */
  counters(): Readonly<Record<CounterName, bigint>> {
    return this.#opened().counters();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#watching;
    this.#programs?.[Symbol.dispose]();
    this.#programs = undefined;
  }

  async uninstall(): Promise<void> {
    attempt('uninstall', () => removePins(this.#options.pinDir));
  }

  #change(what: string, uid: string, netns: Netns, change: (programs: CapturePrograms) => void): void {
    const programs = this.#opened();
    attempt(what, () => {
      this.#cookies.set(uid, netns.cookie());
      change(programs);
    });
  }

  #opened(): CapturePrograms {
    if (this.#programs === undefined) throw new MeshError('ERR_REDIRECT', 'the eBPF back-end is not open');
    return this.#programs;
  }

  async #watch(programs: CapturePrograms): Promise<void> {
    try {
      for await (const event of programs.events(this.#abort.signal)) this.#report(event);
    } catch (error) {
      this.#options.log.error('events of the capture programs are lost', { error: errorMessage(error) });
    }
  }

  #report({ reason, ip, port, protocol, netnsCookie }: CaptureEvent): void {
    const netns = netnsCookie.toString();
    this.#options.log.warn('refused by the capture programs', { reason, address: ip, port, protocol, netns });
  }
}

function toPodCapture(ips: readonly string[], options: CaptureOptions): PodCapture {
  const { dnsCapture: dns, ingressBypass, ipv6, exclusions: excluded } = options;
  return { ...{ ips, dns, ingressBypass, ipv6 }, ...(excluded ? { excluded } : {}) };
}

function attempt(what: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    throw new MeshError('ERR_REDIRECT', `cannot ${what} with eBPF: ${errorMessage(cause)}`, { cause });
  }
}
