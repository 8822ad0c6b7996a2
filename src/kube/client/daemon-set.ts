/** Asks the API server whether a DaemonSet is to stay. Source: Kubernetes apps/v1. */
import { MeshError } from '../../core/errors.ts';
import type { NamespacedName } from '../../model/address.ts';
import { type ApiClient, refusal } from './api-client.ts';

/** Refused: the account may not ask any more, as when its rights are being removed with it. */
export type DaemonSetState = 'present' | 'leaving' | 'absent' | 'refused';

export type DaemonSetReader = (key: NamespacedName) => Promise<DaemonSetState>;

/** Whoever asks is about to end and cannot wait long. */
const ANSWER_MS = 3_000;
const STATES: Readonly<Record<number, DaemonSetState>> = { 401: 'refused', 403: 'refused', 404: 'absent' };

/** The reader rejects with ERR_SYSTEM when there is no answer to rely on. */
export function daemonSetReader(api: ApiClient): DaemonSetReader {
  return async ({ namespace, name }) => {
    const path = `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`;
    const answer = await api.call({ method: 'GET', path, signal: AbortSignal.timeout(ANSWER_MS) });
    const state = STATES[answer.status];
    if (state !== undefined) return state;
    if (answer.status !== 200) throw new MeshError('ERR_SYSTEM', `DaemonSet ${namespace}/${name}: ${refusal(answer)}`);
    const { metadata } = answer.body as { metadata?: { deletionTimestamp?: string } };
    return metadata?.deletionTimestamp === undefined ? 'present' : 'leaving';
  };
}
