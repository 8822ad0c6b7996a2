/**
 * A pod's network namespace and its attachment by the node's CNI chain. A sandbox exists wholly or not at all: when a
 * plugin refuses, the chain is undone and the namespace removed, so that no container ever runs in half of one.
 */
import { createHash, randomBytes } from 'node:crypto';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { netnsPath } from './cluster-plan.ts';
import type { CniChain } from './cni-chain.ts';
import type { CniAttachment } from './cni-config.ts';
import type { Pod } from './kinds.ts';
import { createNamespace, removeNamespace } from './network.ts';

export interface Sandbox {
  readonly netns: string;
  readonly containerId: string;
  /** In the order the chain gave them: IPv4 first here. */
  readonly ips: readonly string[];
  readonly attachment: CniAttachment;
}

/** Makes a sandbox. Rejects with the plugin's refusal, after everything was undone. */
export async function createSandbox(pod: Pod, netns: string, chain: CniChain, log: Logger): Promise<Sandbox> {
  const containerId = createHash('sha256').update(randomBytes(32)).digest('hex');
  const attachment = attachmentOf(pod, netns, containerId);
  await removeNamespace(netns);
  await createNamespace(netns);
  try {
    const { ips = [] } = await chain.add(attachment);
    const addresses = ips.map(({ address }) => address.split('/')[0] ?? address);
    return { netns, containerId, ips: addresses, attachment };
  } catch (error) {
    await detach(chain, attachment, log);
    await removeNamespace(netns);
    throw error;
  }
}

/** Detaches the pod and removes its namespace. Nothing may run in it any more. */
export async function removeSandbox(sandbox: Sandbox, chain: CniChain, log: Logger): Promise<void> {
  await detach(chain, sandbox.attachment, log);
  await removeNamespace(sandbox.netns);
}

function attachmentOf({ metadata }: Pod, netns: string, containerId: string): CniAttachment {
  return {
    containerId,
    netns: netnsPath(netns),
    ifName: 'eth0',
    args: {
      IgnoreUnknown: '1',
      K8S_POD_NAMESPACE: metadata.namespace ?? 'default',
      K8S_POD_NAME: metadata.name,
      K8S_POD_INFRA_CONTAINER_ID: containerId,
      K8S_POD_UID: metadata.uid ?? '',
    },
  };
}

async function detach(chain: CniChain, attachment: CniAttachment, log: Logger): Promise<void> {
  try {
    await chain.delete(attachment);
  } catch (error) {
    log.warn('a plugin failed to detach a pod', { containerId: attachment.containerId, error: errorMessage(error) });
  }
}
