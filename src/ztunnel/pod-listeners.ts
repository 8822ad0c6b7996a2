/** The listeners of one pod: outbound, plaintext and HBONE inbound, DNS. All or none. */
import { listenTcp, type Netns, NetnsError, readSysctl } from 'culvert-netns';
import type { Engine, ListenerKind } from '../engine/index.ts';
import { INBOUND_HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT } from '../model/ports.ts';
import { type DnsHandler, type DrainableDns, serveDns } from './dns/dns-server.ts';
import type { PodProxy } from './inpod/pod-proxies.ts';

export interface PodListenerConfig {
  readonly ipv6: boolean;
  readonly mark: number | undefined;
  readonly reusePort: boolean;
  /** Listeners that may show foreign source addresses to the application. */
  readonly transparent: boolean;
  /** Where the DNS proxy listens; undefined: it is off. */
  readonly dnsPort: number | undefined;
}

export interface PodListenerDeps {
  readonly engine: Engine;
  readonly config: PodListenerConfig;
  /** Answers the pod's queries until `signal` aborts. */
  readonly dnsHandler: (signal: AbortSignal) => DnsHandler;
}

const PORTS: readonly (readonly [ListenerKind, number])[] = [
  ['outbound', OUTBOUND_PORT],
  ['inbound-plaintext', INBOUND_PLAINTEXT_PORT],
  ['inbound-hbone', INBOUND_HBONE_PORT],
];

/** Longer than a resolver waits. */
const DNS_ANSWER_MS = 5_000;

/** Rejects with the first failure after closing what was opened. `netns` undefined: the process' own. */
export async function openPodListeners(
  { engine, config, dnsHandler }: PodListenerDeps,
  owner: string,
  netns: Netns | undefined,
): Promise<PodProxy> {
  const stop = new AbortController();
  const opened: AsyncDisposable[] = [];
  let dns: DrainableDns | undefined;
  try {
    const ip = config.ipv6 && hasIpv6(netns) ? '::' : '0.0.0.0';
    for (const [kind, port] of PORTS) {
      const transparent = config.transparent && kind !== 'outbound';
      const { mark, reusePort } = config;
      opened.push(
        await engine.listen({
          kind,
          owner,
          ip,
          port,
          reusePort,
          transparent,
          ...(netns ? { netns } : {}),
          ...(mark === undefined ? {} : { mark }),
        }),
      );
    }
    if (config.dnsPort !== undefined) {
      const ips = config.ipv6 && hasLoopbackIpv6(netns) ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
      const { mark, reusePort, dnsPort: port } = config;
      dns = serveDns({ netns, ips, port, mark, reusePort }, dnsHandler(stop.signal));
    }
  } catch (error) {
    stop.abort();
    for (const listener of opened) await listener[Symbol.asyncDispose]();
    throw error;
  }
  return {
    async drain(deadlineMs) {
      const answered = dns?.drain(Math.min(deadlineMs, DNS_ANSWER_MS)).finally(() => stop.abort());
      await Promise.all([engine.drain(owner, deadlineMs), answered]);
      stop.abort();
    },
  };
}

/** Whether sockets can be bound to `::`: a kernel or namespace without IPv6 refuses. */
function hasIpv6(netns: Netns | undefined): boolean {
  try {
    listenTcp(netns, { ip: '::', port: 0 }, () => {})[Symbol.dispose]();
    return true;
  } catch (error) {
    if (error instanceof NetnsError && (error.code === 'EAFNOSUPPORT' || error.code === 'EADDRNOTAVAIL')) return false;
    throw error;
  }
}

function hasLoopbackIpv6(netns: Netns | undefined): boolean {
  try {
    return readSysctl(netns, 'net.ipv6.conf.lo.disable_ipv6').trim() !== '1';
  } catch {
    return false;
  }
}
