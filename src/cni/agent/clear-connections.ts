/**
 * Connections that were open in clear when a pod joined: counted and reported. They go on as they are, unless a policy
 * forbids them; those are cut.
 */
import { destroyTcpSocket, listTcpSockets, localAddresses, type TcpSocket } from 'culvert-netns';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { formatIpPort } from '../../model/ip.ts';
import type { EnrolledPod } from './enrolled-pods.ts';
import { canonicalIps } from './pod-address.ts';
import { type ClearConnection, clearConnections, tunnelConnections } from './socket-table.ts';

export interface ClearWatchDeps {
  readonly log: Logger;
  /** Judges the connections of a pod: the name of what forbids one in clear. Undefined when nothing can be forbidden. */
  readonly judge: (pod: EnrolledPod) => ((connection: ClearConnection) => string | undefined) | undefined;
  readonly onFound: (pod: EnrolledPod, counts: { readonly inbound: number; readonly outbound: number }) => void;
  readonly onCut: (count: number) => void;
}

/** Most connections that are named in the log for one pod. */
const NAMED_MAX = 5;

export class ClearWatch {
  readonly #deps: ClearWatchDeps;

  constructor(deps: ClearWatchDeps) {
    this.#deps = deps;
  }

  /** Counts and reports what is open in clear. Never throws: a pod joins all the same. */
  report(pod: EnrolledPod): void {
    const found = this.#find(pod);
    const inbound = found.filter(({ direction }) => direction === 'inbound').length;
    const counts = { inbound, outbound: found.length - inbound };
    this.#deps.onFound(pod, counts);
    if (found.length === 0) return;
    const { namespace, name } = pod.key;
    this.#deps.log.info('connections were open in clear when the pod joined', {
      pod: `${namespace}/${name}`,
      ...counts,
    });
  }

  /** Cuts what a policy forbids. Never throws; the next look tries again. */
  enforce(pod: EnrolledPod): void {
    const { log, judge, onCut } = this.#deps;
    const forbids = judge(pod);
    if (forbids === undefined) return;
    const forbidden = this.#find(pod).flatMap((connection) => {
      const by = forbids(connection);
      return by === undefined ? [] : [{ connection, by }];
    });
    if (forbidden.length === 0) return;
    try {
      for (const { connection } of forbidden) destroyTcpSocket(pod.netns, connection.socket);
      onCut(forbidden.length);
      const { namespace, name } = pod.key;
      const from = forbidden.slice(0, NAMED_MAX).map(({ connection: { remote } }) => formatIpPort(remote));
      const by = [...new Set(forbidden.map((entry) => entry.by))];
      log.warn('connections in clear were cut', { pod: `${namespace}/${name}`, count: forbidden.length, by, from });
    } catch (error) {
      log.error('connections in clear cannot be cut', { error: errorMessage(error) });
    }
  }

  /** Connections the tunnel carries in the pod; 0 when that cannot be seen. */
  tunnelled(pod: EnrolledPod): number {
    return tunnelConnections(this.#sockets(pod));
  }

  #find(pod: EnrolledPod): readonly ClearConnection[] {
    return clearConnections(this.#sockets(pod), canonicalIps(localAddresses(pod.netns)));
  }

  #sockets({ netns }: EnrolledPod): readonly TcpSocket[] {
    try {
      return listTcpSockets(netns);
    } catch (error) {
      this.#deps.log.warn('the connections of a pod cannot be listed', { error: errorMessage(error) });
      return [];
    }
  }
}
