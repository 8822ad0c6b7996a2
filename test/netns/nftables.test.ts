import { runCommand } from '../../src/cni/redirect/netns-command.ts';
import { NftablesBackend } from '../../src/cni/redirect/nftables.ts';
import { redirectSuite } from './redirect-suite.ts';

redirectSuite(async () => {
  const backend = new NftablesBackend(runCommand);
  await backend.open();
  return { backend, [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() };
});
