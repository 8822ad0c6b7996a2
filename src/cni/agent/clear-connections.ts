/**
 * Connections that were open in clear when a pod joined: counted and reported. They go on as they are, unless a policy
 * forbids them; those are cut.
 */
import { localAddresses } from 'culvert-netns';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { formatIpPort } from '../../model/ip.ts';
import type { RunCommand } from '../redirect/index.ts';
import type { EnrolledPod } from './enrolled-pods.ts';
import { canonicalIps } from './pod-address.ts';
import {
  type ClearConnection,
  clearConnections,
  cutConnections,
  listSockets,
  tunnelConnections,
} from './socket-table.ts';

export interface ClearWatchDeps {
  readonly run: RunCommand;
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

  /** Counts and reports what is open in clear. Never rejects: a pod joins all the same. */
  async report(pod: EnrolledPod): Promise<void> {
    const found = await this.#find(pod);
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

  /** Cuts what a policy forbids. Never rejects; the next look tries again. */
  async enforce(pod: EnrolledPod): Promise<void> {
    const { run, log, judge, onCut } = this.#deps;
    const forbids = judge(pod);
    if (forbids === undefined) return;
    const forbidden = (await this.#find(pod)).flatMap((connection) => {
      const by = forbids(connection);
      return by === undefined ? [] : [{ connection, by }];
    });
    if (forbidden.length === 0) return;
    try {
      await cutConnections(
        run,
        pod.netns,
        forbidden.map(({ connection }) => connection),
      );
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
  async tunnelled(pod: EnrolledPod): Promise<number> {
    return tunnelConnections(await this.#sockets(pod));
  }

  async #find(pod: EnrolledPod): Promise<readonly ClearConnection[]> {
    const sockets = await this.#sockets(pod);
    return clearConnections(sockets, canonicalIps(localAddresses(pod.netns)));
  }

  async #sockets(pod: EnrolledPod) {
    try {
      return await listSockets(this.#deps.run, pod.netns);
    } catch (error) {
      this.#deps.log.warn('the connections of a pod cannot be listed', { error: errorMessage(error) });
      return [];
    }
  }
}
