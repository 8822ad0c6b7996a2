/**
 * A node's private files: CNI configuration and binaries as a distribution would install them, and the run folders of
 * its components. The mesh's own plugin is not here: the node agent installs it, as on a real node.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '../core/errors.ts';
import { type NodePlan, netnsPath } from './cluster-plan.ts';
import type { CniDirs } from './cni-chain.ts';

/** Where Debian's package `containernetworking-plugins` puts its programs. */
const DISTRIBUTION_PLUGINS = '/usr/lib/cni';
const PLUGINS = ['ptp', 'host-local', 'portmap', 'loopback'] as const;

export interface NodeDirs extends CniDirs {
  /** Run folder of the agent: its sockets. */
  readonly agentRunDir: string;
  /** Socket the tunnel connects to. */
  readonly zdsSocket: string;
}

export function nodeDirs(node: NodePlan): NodeDirs {
  return {
    nodeNetns: netnsPath(node.netns),
    configDir: join(node.dir, 'cni/net.d'),
    binDir: join(node.dir, 'cni/bin'),
    cacheDir: join(node.dir, 'cni/cache'),
    agentRunDir: join(node.dir, 'run/istio-cni'),
    zdsSocket: join(node.dir, 'run/ztunnel/ztunnel.sock'),
  };
}

/** Makes the folders and installs the distribution's plugins and configuration. */
export async function createNodeFiles(node: NodePlan): Promise<void> {
  const dirs = nodeDirs(node);
  for (const dir of [dirs.configDir, dirs.binDir, dirs.cacheDir, dirs.agentRunDir, join(dirs.zdsSocket, '..')]) {
    await mkdir(dir, { recursive: true, mode: 0o755 });
  }
  for (const plugin of PLUGINS) {
    try {
      await copyFile(join(DISTRIBUTION_PLUGINS, plugin), join(dirs.binDir, plugin));
    } catch (cause) {
      const hint = 'install the package containernetworking-plugins';
      throw new MeshError('ERR_UNSUPPORTED', `no CNI plugin ${plugin} in ${DISTRIBUTION_PLUGINS}; ${hint}`, { cause });
    }
  }
  const text = JSON.stringify(primaryNetwork(node), undefined, 2);
  await writeFile(join(dirs.configDir, '10-podnet.conflist'), `${text}\n`, { mode: 0o644 });
}

/**
 * The pod network of a node. Point-to-point links, so that pods of one node meet in the node's routing too: there the
 * service addresses are translated, both ways.
 */
export function primaryNetwork(node: NodePlan): object {
  return {
    cniVersion: '1.0.0',
    name: 'podnet',
    plugins: [
      {
        type: 'ptp',
        ipMasq: false,
        ipam: {
          type: 'host-local',
          dataDir: join(node.dir, 'cni/ipam'),
          ranges: [[{ subnet: node.podCidr4 }], [{ subnet: node.podCidr6 }]],
          routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}
