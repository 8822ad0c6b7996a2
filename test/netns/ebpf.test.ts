import { EbpfBackend } from '../../src/cni/redirect/ebpf.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { NodeCgroup } from '../bpf/node-cgroup.ts';
import { redirectSuite } from './redirect-suite.ts';

redirectSuite(async () => {
  const cgroup = await NodeCgroup.create();
  cgroup.enterPods();
  const backend = new EbpfBackend({ podsCgroup: cgroup.pods, pinDir: cgroup.pinDir, log: silentLogger });
  await backend.open();
  return {
    backend,
    tunnelCgroup: cgroup.tunnel('a'),
    kept: () => cgroup.kept(),
    [Symbol.asyncDispose]: async () => {
      await backend[Symbol.asyncDispose]();
      await backend.uninstall();
      await cgroup[Symbol.asyncDispose]();
    },
  };
});
