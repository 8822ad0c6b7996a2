/**
 * What passes between the nodes, seen by pods in the nodes' own network that take no part in the mesh, and what of it
 * is not HBONE.
 */
import type { TcpPacket } from '../../../src/local/pcap.ts';
import { AppPod, appPod } from './app-pods.ts';
import type { Scene } from './scene.ts';

const HBONE_PORT = 15_008;

export class LinkView implements AsyncDisposable {
  readonly #sniffer: AppPod;
  #captures = 0;

  private constructor(sniffer: AppPod) {
    this.#sniffer = sniffer;
  }

  /** On one node: everything between it and the others passes there. */
  static async open({ cluster, namespace }: Pick<Scene, 'cluster' | 'namespace'>, node: string): Promise<LinkView> {
    const place = { namespace: await namespace('link', { ambient: false }), name: `sniffer-${node}` };
    const securityContext = { runAsUser: 0, capabilities: { add: ['NET_RAW', 'NET_ADMIN'] } };
    const container = { securityContext, readinessProbe: undefined };
    await cluster.apply(appPod({ ...place, node, container, env: { ROLE: 'sniffer' }, spec: { hostNetwork: true } }));
    return new LinkView(await AppPod.open(cluster, place.namespace, place.name));
  }

  /** The TCP packets between any of `left` and any of `right` while `during` runs. */
  async capture(left: readonly string[], right: readonly string[], during: () => Promise<void>) {
    const hosts = (ips: readonly string[]): string => ips.map((ip) => `host ${ip}`).join(' or ');
    return await this.#capture(`(${hosts(left)}) and (${hosts(right)})`, { during });
  }

  /** The TCP packets of all devices of the node, pods' among them, that tcpdump's `filter` lets through. */
  async captureEverywhere(filter: string, during: () => Promise<void>): Promise<readonly TcpPacket[]> {
    return await this.#capture(filter, { during, everywhere: true });
  }

  async #capture(
    filter: string,
    { during, everywhere = false }: { readonly during: () => Promise<void>; readonly everywhere?: boolean },
  ): Promise<readonly TcpPacket[]> {
    this.#captures += 1;
    const capture = await this.#sniffer.capture(`capture${this.#captures}`, `tcp and (${filter})`, everywhere);
    await during();
    return await capture.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sniffer[Symbol.asyncDispose]();
  }
}

/** Why these packets are not HBONE alone: nothing when they are. `secret` is text that the application sent. */
export function hboneFaults(packets: readonly TcpPacket[], secret: string): readonly string[] {
  const isHbone = (packet: TcpPacket): boolean =>
    packet.destinationPort === HBONE_PORT || packet.sourcePort === HBONE_PORT;
  const others = packets.filter((packet) => !isHbone(packet));
  const clear = packets.filter(({ payload }) => payload.includes(secret));
  const tls = packets.filter((packet) => isHbone(packet) && isTlsRecord(packet.payload));
  return [
    ...(tls.length === 0 ? ['no TLS record to or from port 15008'] : []),
    ...(others.length === 0 ? [] : [`${others.length} packets of other ports, as ${portsOf(others[0] as TcpPacket)}`]),
    ...(clear.length === 0 ? [] : [`${clear.length} packets with the text of the application`]),
  ];
}

/** Content type 20 to 23, then version 3.x. */
function isTlsRecord(payload: Buffer): boolean {
  return payload.length > 5 && (payload[0] ?? 0) >= 20 && (payload[0] ?? 0) <= 23 && payload[1] === 3;
}

function portsOf({ sourceIp, sourcePort, destinationIp, destinationPort }: TcpPacket): string {
  return `${sourceIp}:${sourcePort} > ${destinationIp}:${destinationPort}`;
}
