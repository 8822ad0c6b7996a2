import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IptablesBackend } from '../../src/cni/redirect/iptables.ts';
import { runCommand } from '../../src/cni/redirect/netns-command.ts';
import { redirectSuite } from './redirect-suite.ts';

redirectSuite(async () => {
  const lockDir = mkdtempSync(join(tmpdir(), 'cvt-ipt-'));
  const backend = new IptablesBackend({ run: runCommand, ipv6: true, lockDir, force: 'nft' });
  await backend.open();
  return {
    backend,
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]();
      rmSync(lockDir, { recursive: true, force: true });
    },
  };
});
