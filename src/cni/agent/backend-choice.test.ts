import test from 'ava';
import { silentLogger } from '../../core/logger.ts';
import type { BackendName, CaptureOptions, RedirectBackend } from '../redirect/index.ts';
import { BackendChoice } from './backend-choice.ts';

const OPTIONS: CaptureOptions = { dnsCapture: true, ingressBypass: false, virtualInterfaces: [], ipv6: true };

function backend(name: BackendName, { works = true, refuses = false } = {}) {
  const calls: string[] = [];
  const fake: RedirectBackend & { readonly calls: string[] } = {
    name,
    calls,
    async probe() {
      calls.push('probe');
      return works ? { usable: true } : { usable: false, reason: 'not here' };
    },
    refusal: () => (refuses ? 'not such a pod' : undefined),
    async open() {
      calls.push('open');
    },
    async tunnelConnected(pid) {
      calls.push(`tunnel ${pid}`);
    },
    prepare: async () => {},
    capture: async () => {},
    release: async () => {},
    clear: async () => {},
    inspect: async () => 'absent',
    forget: async () => {},
    uninstall: async () => {},
    async [Symbol.asyncDispose]() {
      calls.push('close');
    },
  };
  return fake;
}

test('the first that works is the node’s own; the rest is not even probed', async (t) => {
  const [ebpf, nft, iptables] = [backend('ebpf', { works: false }), backend('nftables'), backend('iptables')];
  const choice = await BackendChoice.open([ebpf, nft, iptables], undefined, silentLogger);
  t.is(choice.preferred, 'nftables');
  t.deepEqual(iptables.calls, []);
  t.is(await choice.choose(OPTIONS, undefined), nft);
  t.deepEqual(iptables.calls, []);
});

test('what a pod asks for is opened once, and learns of the tunnel', async (t) => {
  const [nft, iptables] = [backend('nftables'), backend('iptables')];
  const choice = await BackendChoice.open([nft, iptables], undefined, silentLogger);
  await choice.tunnelsConnected([7]);
  for (let i = 0; i < 2; i++) t.is(await choice.choose(OPTIONS, 'iptables'), iptables);
  t.deepEqual(iptables.calls, ['probe', 'open', 'tunnel 7']);
  t.deepEqual(nft.calls, ['probe', 'open', 'tunnel 7']);
  await choice[Symbol.asyncDispose]();
  t.is(nft.calls.at(-1), 'close');
});

test('a pod that the node’s own cannot serve gets the next', async (t) => {
  const [ebpf, nft] = [backend('ebpf', { refuses: true }), backend('nftables')];
  const choice = await BackendChoice.open([ebpf, nft], undefined, silentLogger);
  t.is(await choice.choose(OPTIONS, undefined), nft);
  const error = await t.throwsAsync(choice.choose(OPTIONS, 'ebpf'), { code: 'ERR_UNSUPPORTED' });
  t.regex(error.message, /not ebpf, which the pod asks for, .*not such a pod/);
});

test('one that is required must work', async (t) => {
  const backends = [backend('ebpf', { works: false }), backend('nftables')];
  await t.throwsAsync(BackendChoice.open(backends, 'ebpf', silentLogger), { code: 'ERR_UNSUPPORTED' });
  await t.throwsAsync(BackendChoice.open(backends, 'iptables', silentLogger), { code: 'ERR_UNSUPPORTED' });
  t.is((await BackendChoice.open(backends, 'nftables', silentLogger)).preferred, 'nftables');
});

test('with none that works every reason is given', async (t) => {
  const backends = [backend('ebpf', { works: false }), backend('nftables', { works: false })];
  const error = await t.throwsAsync(BackendChoice.open(backends, undefined, silentLogger));
  t.regex(error.message, /ebpf: not here; nftables: not here/);
});

test('a back-end by its name', async (t) => {
  const choice = await BackendChoice.open(
    [backend('nftables'), backend('iptables', { works: false })],
    undefined,
    silentLogger,
  );
  t.is((await choice.find('nftables'))?.name, 'nftables');
  t.is(await choice.find('iptables'), undefined);
  t.is(await choice.find('other'), undefined);
});
