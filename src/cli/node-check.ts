/**
 * `culvert node-check`: looks at the node it runs on and prints one line of JSON. Run by `culvert check --pre` in a pod with
 * the agent's mounts, capabilities and environment.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { EbpfBackend, findPodsCgroup, IptablesBackend, NftablesBackend, podUidOf, runCommand } from '../cni/index.ts';
import type { Env } from '../core/config-reader.ts';
import { errorMessage } from '../core/errors.ts';
import { silentLogger } from '../core/logger.ts';
import type { NodeReport } from '../install/index.ts';
import { parseCniConfig } from './cni-config.ts';

/** Bits of the capabilities that the agent is given. Source: capability.h. */
const CAPABILITIES = { DAC_OVERRIDE: 1, NET_ADMIN: 12, NET_RAW: 13, SYS_PTRACE: 19, SYS_ADMIN: 21 } as const;

/** Prints what it finds; resolves with 0. */
export async function runNodeCheck(env: Env): Promise<number> {
  const config = parseCniConfig(env);
  const { hostMountsDir, agent, install, bpfPinDir } = config;
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const cgroupDir = `${hostMountsDir}/sys/fs/cgroup`;
  const uid = config.podUid ?? podUidOf(readFileSync('/proc/self/cgroup', 'utf8'));
  const podsCgroup = config.podsCgroup ?? (uid === undefined ? undefined : findPodsCgroup(uid, cgroupDir));
  const backends: Record<string, string> = {};
  if (podsCgroup === undefined) backends.ebpf = 'no cgroup2 folder of pods is found';
  else {
    const { procDir } = agent.procfs;
    backends.ebpf = await reasonOf(new EbpfBackend({ podsCgroup, procDir, pinDir: bpfPinDir, log: silentLogger }));
  }
  backends.nftables = await reasonOf(new NftablesBackend(runCommand));
  backends.iptables = await reasonOf(
    new IptablesBackend({ run: runCommand, ipv6: agent.defaults.ipv6, lockDir: '/tmp' }),
  );
  const cniFiles = filesOf(install.configDir);
  const report: NodeReport = {
    ...{ kernel: release(), cgroup: cgroupMode(mounts, cgroupDir), backends, cniFiles },
    missingCapabilities: missingCapabilities(readFileSync('/proc/self/status', 'utf8')),
    hasBpfFileSystem: mounts.some(([, target, type]) => target === '/sys/fs/bpf' && type === 'bpf'),
    cniPlugins: pluginsOf(install.configDir, cniFiles[0]),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  return 0;
}

async function reasonOf(backend: {
  probe(): Promise<{ usable: true } | { usable: false; reason: string }>;
}): Promise<string> {
  try {
    const usability = await backend.probe();
    return usability.usable ? '' : usability.reason;
  } catch (error) {
    return errorMessage(error);
  }
}

function cgroupMode(mounts: readonly (readonly string[])[], folder: string): NodeReport['cgroup'] {
  const types = new Set(
    mounts.flatMap(([, target = '', type = '']) =>
      target === folder || target.startsWith(`${folder}/`) ? [type] : [],
    ),
  );
  if (types.has('cgroup')) return types.has('cgroup2') ? 'hybrid' : 'v1';
  return types.has('cgroup2') ? 'v2' : 'none';
}

function missingCapabilities(status: string): readonly string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return Object.entries(CAPABILITIES).flatMap(([name, bit]) => ((effective >> BigInt(bit)) & 1n ? [] : [name]));
}

function filesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.(conf|conflist)$/.test(name))
      .sort();
  } catch {
    return [];
  }
}

function pluginsOf(folder: string, file: string | undefined): readonly string[] {
  if (file === undefined) return [];
  try {
    const config = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      type?: string;
      plugins?: readonly { type?: string }[];
    };
    return (config.plugins ?? [config]).flatMap(({ type }) => (type === undefined ? [] : [type]));
  } catch {
    return [];
  }
}
