/**
 * The port of the redirection back-ends: how the traffic of one pod is brought to the tunnel's listeners in that pod.
 *
 * Invariants every back-end keeps (`test/netns/` states them as tests)
 *  - `prepare` changes the way of no packet. `capture` does: with no tunnel listening, new connections are then refused.
 *  - `capture` and `release` touch new connections only; those open before go on as they are.
 *  - Every call may be repeated, and after any failure; the result is the same.
 *  - What the tunnel sends (mark 0x539, or 0x111 with a foreign source address) is never captured.
 * Who calls decides the order: for a pod being created `capture` comes before the tunnel is told, so that nothing can
 * leave uncaptured; for a running pod it comes after the tunnel's acknowledgement, so that no connection fails.
 */
import type { Netns } from 'culvert-netns';
import type { IpRange } from '../../model/address.ts';

export type BackendName = 'ebpf' | 'nftables' | 'iptables';

/** In order of preference. */
export const BACKEND_NAMES: readonly BackendName[] = ['ebpf', 'nftables', 'iptables'];

/** Per-pod switches, from annotations and the agent's defaults. */
export interface CaptureOptions {
  /** Port 53 (UDP and TCP) goes to the tunnel's DNS proxy. */
  readonly dnsCapture: boolean;
  /** Inbound traffic is left alone (ingress gateways). */
  readonly ingressBypass: boolean;
  /** TCP that comes in on these interfaces is treated as outbound (virtual machines, nested containers). */
  readonly virtualInterfaces: readonly string[];
  /** Whether IPv6 is captured as well. */
  readonly ipv6: boolean;
  /** What the pod's owner keeps out of the mesh; absent: nothing. */
  readonly exclusions?: Exclusions;
}

/** TCP that is neither encrypted nor policed, by wish. DNS over UDP is not concerned. */
export interface Exclusions {
  /** Destination ports of connections that the pod opens. */
  readonly outboundPorts: readonly number[];
  /** Destinations of connections that the pod opens. */
  readonly outboundRanges: readonly IpRange[];
  /** Ports of the pod that whoever comes in clear reaches directly. */
  readonly inboundPorts: readonly number[];
}

export interface CapturedPod {
  readonly uid: string;
  readonly netns: Netns;
  /** Every address of the pod, canonical text. */
  readonly ips: readonly string[];
  readonly options: CaptureOptions;
}

export type Usability = { readonly usable: true } | { readonly usable: false; readonly reason: string };

/** What is really in a namespace. `draining`: nothing new is captured, older captured connections still flow. */
export type CaptureState = 'absent' | 'draining' | 'capturing';

export interface RedirectBackend extends AsyncDisposable {
  readonly name: BackendName;
  /** Whether this machine can run the back-end. Leaves nothing behind and never throws. */
  probe(): Promise<Usability>;
  /** Undefined when pods with these options can be served, else the reason why not. Pure. */
  refusal(options: CaptureOptions): string | undefined;
  /** Node-wide part: programs, maps, binaries. Once, before any other call but `probe` and `refusal`. Rejects with ERR_UNSUPPORTED. */
  open(): Promise<void>;
  /** Return path of source-preserving connections (rule, route, sysctl) and what capture needs. Rejects with ERR_REDIRECT. */
  prepare(pod: CapturedPod): Promise<void>;
  /** New connections are captured when this resolves; also applies changed options or addresses. Rejects with ERR_REDIRECT. */
  capture(pod: CapturedPod): Promise<void>;
  /** New connections are direct when this resolves; captured ones go on until they end. Rejects with ERR_REDIRECT. */
  release(pod: CapturedPod): Promise<void>;
  /** Removes everything of this back-end from a pod that was released and whose captured connections have ended. */
  clear(pod: CapturedPod): Promise<void>;
  /** What is in the namespace now, whoever put it there. */
  inspect(pod: CapturedPod): Promise<CaptureState>;
  /** The pod's namespace is gone: forgets what was kept for it outside of it. */
  forget(pod: { readonly uid: string; readonly ips: readonly string[] }): Promise<void>;
  /** A tunnel connected; back-ends that know it by its cgroup rather than by its mark register it. */
  tunnelConnected(pid: number): Promise<void>;
  /** Closes handles; what is installed stays in force. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Removes what is node-wide. Pods keep what they have. */
  uninstall(): Promise<void>;
}
