/**
 * The nodes' network: one namespace per node on a bridge in the cluster's fabric namespace, pod subnets routed between
 * the nodes, both address families. Nothing appears in the machine's own namespace but the namespaces' names.
 */
import { readdir } from 'node:fs/promises';
import { errnoName } from '../core/errors.ts';
import { type ClusterPlan, type NodePlan, netnsPath } from './cluster-plan.ts';
import { run, runAny } from './process-runner.ts';

/** Settings of every namespace: forwards, and shows IPv6 addresses at once instead of probing for duplicates first. */
const SYSCTLS = [
  'net.ipv4.ip_forward=1',
  'net.ipv6.conf.all.forwarding=1',
  'net.ipv6.conf.all.accept_dad=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.default.router_solicitations=0',
];

/** Builds fabric and nodes. Throws ERR_SYSTEM; what was made until then is removed by `removeNamespaces`. */
export async function createNetwork(plan: ClusterPlan): Promise<void> {
  for (const netns of [plan.fabricNetns, ...plan.nodes.map((node) => node.netns)]) await createNamespace(netns);
  await run('ip', ['-n', plan.fabricNetns, '-batch', '-'], { input: fabricCommands(plan).join('\n') });
  for (const node of plan.nodes) {
    await run('ip', ['-n', node.netns, '-batch', '-'], { input: nodeCommands(plan, node).join('\n') });
  }
}

/** Makes a named namespace with loopback up and the cluster's settings. */
export async function createNamespace(name: string): Promise<void> {
  await run('ip', ['netns', 'add', name]);
  await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  await run('nsenter', [`--net=${netnsPath(name)}`, 'sysctl', '-qw', ...SYSCTLS]);
}

/** Removes one namespace; one that is gone already is fine. */
export async function removeNamespace(name: string): Promise<void> {
  await runAny('ip', ['netns', 'delete', name]);
}

/** Removes every namespace of the cluster, pods' included. */
export async function removeNamespaces(prefix: string): Promise<void> {
  for (const name of await listNamespaces(prefix)) await removeNamespace(name);
}

/** Names of the namespaces that belong to the cluster with this prefix. */
export async function listNamespaces(prefix: string): Promise<readonly string[]> {
  try {
    return (await readdir('/run/netns')).filter((name) => name.startsWith(`${prefix}.`));
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Commands of the fabric: a bridge, one port per node named after it, and the ways to the pods. */
export function fabricCommands(plan: ClusterPlan): readonly string[] {
  const { bridge } = plan;
  return [
    `link add ${bridge} type bridge`,
    `link set ${bridge} up`,
    `addr add ${plan.gateway4}/24 dev ${bridge}`,
    `addr add ${plan.gateway6}/64 dev ${bridge} nodad`,
    ...plan.nodes.flatMap((node) => [
      `link add ${node.name} type veth peer name eth0 netns ${node.netns}`,
      `link set ${node.name} master ${bridge}`,
      `link set ${node.name} up`,
      `route add ${node.podCidr4} via ${node.ipv4}`,
      `route add ${node.podCidr6} via ${node.ipv6}`,
    ]),
  ];
}

/** Commands of one node: its address, the default way to the fabric, and the other nodes' pods. */
export function nodeCommands(plan: ClusterPlan, node: NodePlan): readonly string[] {
  return [
    `addr add ${node.ipv4}/24 dev eth0`,
    `addr add ${node.ipv6}/64 dev eth0 nodad`,
    'link set eth0 up',
    `route add default via ${plan.gateway4}`,
    `route add default via ${plan.gateway6}`,
    ...plan.nodes
      .filter((other) => other !== node)
      .flatMap((other) => [
        `route add ${other.podCidr4} via ${other.ipv4}`,
        `route add ${other.podCidr6} via ${other.ipv6}`,
      ]),
  ];
}
