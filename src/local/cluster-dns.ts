/**
 * DNS of a cluster: names of services, `<service>.<namespace>.svc.cluster.local`, and nothing else. There is no way out
 * of the cluster, so every other name does not exist. Served in the fabric's namespace over UDP and TCP, both families.
 * Source: Kubernetes DNS-based service discovery 1.1.0, sections 2.3 and 2.4 (A and AAAA); RFC 1035 section 4.2.2.
 */
import dgram from 'node:dgram';
import { isIPv6, Socket } from 'node:net';
import { bindUdp, listenTcp, type Netns } from 'culvert-netns';
import * as dnsPacket from 'dns-packet';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { isReady, type Pod, podIps, type Service, selectPods } from './kinds.ts';
import { clusterIps } from './service-rules.ts';

/** Short: a client that asks after a change must see it. */
const TTL_SECONDS = 5;
const CLUSTER_SUFFIX = '.svc.cluster.local';
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS_MAX = 100;
const QUERY_BYTES_MAX = 4_096;
const NAME_ERROR = 3;

export interface DnsView {
  services(): readonly Service[];
  pods(): readonly Pod[];
}

/** Addresses of a name, undefined when the name does not exist. */
export function resolveName(name: string, view: DnsView): readonly string[] | undefined {
  const lower = name.toLowerCase().replace(/\.$/, '');
  if (!lower.endsWith(CLUSTER_SUFFIX)) return undefined;
  const [service, namespace, ...rest] = lower.slice(0, -CLUSTER_SUFFIX.length).split('.');
  if (rest.length > 0) return undefined;
  const found = view.services().find(({ metadata }) => metadata.name === service && metadata.namespace === namespace);
  if (!found) return undefined;
  const addresses = clusterIps(found);
  return addresses.length > 0 ? addresses : selectPods(found, view.pods()).filter(isReady).flatMap(podIps);
}

/** The answer to a query; undefined for bytes that are no query. */
export function answerQuery(query: Buffer, view: DnsView): Buffer | undefined {
  let packet: dnsPacket.DecodedPacket;
  try {
    packet = dnsPacket.decode(query);
  } catch {
    return undefined;
  }
  const question = packet.questions?.[0];
  if (packet.type !== 'query' || question === undefined) return undefined;
  const addresses = resolveName(question.name, view);
  const answers = (addresses ?? [])
    .filter((ip) => question.type === (isIPv6(ip) ? 'AAAA' : 'A'))
    .map((data) => ({ type: isIPv6(data) ? 'AAAA' : 'A', name: question.name, ttl: TTL_SECONDS, data }) as const);
  const flags = dnsPacket.AUTHORITATIVE_ANSWER | ((packet.flags ?? 0) & dnsPacket.RECURSION_DESIRED);
  const code = addresses === undefined ? NAME_ERROR : 0;
  return dnsPacket.encode({
    type: 'response',
    id: packet.id ?? 0,
    flags: flags | code,
    questions: [question],
    answers,
  });
}

/** Serves on port 53 of `ips` inside `netns` until disposed. Throws NetnsError when a port is taken. */
export function startClusterDns(netns: Netns, ips: readonly string[], view: DnsView, log: Logger): AsyncDisposable {
  const listeners = ips.map((ip) => listenTcp(netns, { ip, port: 53 }, ({ fd }) => serveTcp(fd)));
  const sockets = ips.map((ip) => serveUdp(netns, ip, view, log));
  const open = new Set<Socket>();
  function serveTcp(fd: number): void {
    const socket = new Socket({ fd });
    socket.on('error', () => socket.destroy());
    if (open.size >= TCP_CONNECTIONS_MAX) return void socket.destroy();
    open.add(socket);
    socket.on('close', () => open.delete(socket)).setTimeout(TCP_IDLE_MS, () => socket.destroy());
    let pending = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        const answer = answerQuery(pending.subarray(2, end), view);
        pending = pending.subarray(end);
        if (answer === undefined) return void socket.destroy();
        socket.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
      }
      if (pending.length > QUERY_BYTES_MAX) socket.destroy();
    });
    socket.resume();
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const listener of listeners) listener[Symbol.dispose]();
      for (const socket of open) socket.destroy();
      await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
    },
  };
}

function serveUdp(netns: Netns, ip: string, view: DnsView, log: Logger): dgram.Socket {
  const socket = dgram.createSocket(isIPv6(ip) ? 'udp6' : 'udp4');
  socket.on('error', (error) => log.warn('DNS socket failed', { error: errorMessage(error) }));
  socket.on('message', (query, peer) => {
    const answer = answerQuery(query, view);
    if (answer) socket.send(answer, peer.port, peer.address);
  });
  socket.bind({ fd: bindUdp(netns, { ip, port: 53 }) });
  return socket;
}
