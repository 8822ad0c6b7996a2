import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IptablesBackend } from '../../src/cni/redirect/iptables.ts';
import { runCommand } from '../../src/cni/redirect/netns-command.ts';
import { redirectSuite } from './redirect-suite.ts';

/** Fewer cycles: each runs eight processes for each family. */
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
}, 50);
