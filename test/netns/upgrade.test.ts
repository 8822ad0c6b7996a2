import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EbpfBackend } from '../../src/cni/redirect/ebpf.ts';
import { IptablesBackend } from '../../src/cni/redirect/iptables.ts';
import { runCommand } from '../../src/cni/redirect/netns-command.ts';
import { NftablesBackend } from '../../src/cni/redirect/nftables.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { NodeCgroup } from '../bpf/node-cgroup.ts';
import { upgradeSuite } from './upgrade-suite.ts';

upgradeSuite('ebpf', async () => {
  const cgroup = await NodeCgroup.create();
  cgroup.enterPods();
  const backend = new EbpfBackend({ podsCgroup: cgroup.pods, pinDir: cgroup.pinDir, log: silentLogger });
  await backend.open();
  return {
    backend,
    enter: (tunnel) => `echo $$ > ${cgroup.tunnel(tunnel)}/cgroup.procs`,
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]();
      await backend.uninstall();
      await cgroup[Symbol.asyncDispose]();
    },
  };
});

upgradeSuite('nftables', async () => {
  const backend = new NftablesBackend(runCommand);
  await backend.open();
  return { backend, enter: () => ':', [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() };
});

upgradeSuite('iptables', async () => {
  const lockDir = mkdtempSync(join(tmpdir(), 'cvt-ipt-'));
  const backend = new IptablesBackend({ run: runCommand, ipv6: true, lockDir, force: 'nft' });
  await backend.open();
  return {
    backend,
    enter: () => ':',
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]();
      rmSync(lockDir, { recursive: true, force: true });
    },
  };
});
