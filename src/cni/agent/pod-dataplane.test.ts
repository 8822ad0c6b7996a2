import test from 'ava';
import type { Netns } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';
import { silentLogger } from '../../core/logger.ts';
import { systemClock } from '../../core/system-clock.ts';
import type { RedirectBackend } from '../redirect/index.ts';
import { type EnrolledPod, EnrolledPods } from './enrolled-pods.ts';
import { type JoinRequest, PodDataplane } from './pod-dataplane.ts';

const LINGER_MS = 1_000;
const KEY = { namespace: 'shop', name: 'cart' };

/** A data plane whose every outward step is written down; `fail` makes the steps of these names fail. */
function stage({ fail = new Set<string>(), tunnelled = 0 } = {}) {
  const steps: string[] = [];
  const step = async (text: string): Promise<void> => {
    steps.push(text);
    if (fail.has(text)) throw new MeshError('ERR_ZDS', `${text} failed`);
  };
  const pods = new EnrolledPods();
  const busy = { tunnelled };
  const time = { nowMs: 0 };
  const plane = new PodDataplane({
    pods,
    tunnel: { connections: 1, add: () => step('tell'), delete: () => step('untell') },
    probes: { add: () => step('probe'), remove: () => step('unprobe') },
    writer: {
      patchStatus: async () => {},
      patchAnnotations: (_kind, _key, patch) => step(`annotate ${patch['ambient.istio.io/redirection'] ?? 'nothing'}`),
    },
    clock: { ...systemClock, monotonicMs: () => time.nowMs },
    log: silentLogger,
    lingerMs: LINGER_MS,
    inspectClear: () => void steps.push('look'),
    tunnelled: () => busy.tunnelled,
  });
  const make = (name: RedirectBackend['name']): RedirectBackend => ({
    name,
    probe: async () => ({ usable: true }),
    refusal: () => undefined,
    open: async () => {},
    prepare: () => step('prepare'),
    capture: () => step('capture'),
    release: () => step(`release ${name}`),
    clear: () => step(`clear ${name}`),
    inspect: async () => 'absent',
    forget: () => step('forget'),
    tunnelConnected: async () => {},
    uninstall: async () => {},
    [Symbol.asyncDispose]: async () => {},
  });
  const request: JoinRequest = {
    uid: 'u',
    key: KEY,
    info: { ...KEY, serviceAccount: 'default' },
    netns: fakeNetns('1', () => steps.push('close')),
    ips: ['10.0.0.1'],
    options: { dnsCapture: true, ingressBypass: false, virtualInterfaces: [], ipv6: true },
    backend: make('nftables'),
  };
  const taken = (): string => steps.splice(0).join(', ');
  /** The linger passes. */
  const leave = async (entry: EnrolledPod): Promise<number> => {
    const againMs = await plane.leave(entry);
    if (entry.state !== 'leaving') return againMs;
    time.nowMs += againMs;
    return await plane.leave(entry);
  };
  return { plane, pods, request, make, taken, fail, busy, time, leave };
}

/** Only its identity and its end are used here. */
function fakeNetns(id: string, onClose: () => void): Netns {
  return { id, [Symbol.dispose]: onClose } as unknown as Netns;
}

const never = new AbortController().signal;

test('a new pod is captured before the tunnel is told, and announced last', async (t) => {
  const { plane, pods, request, taken } = stage();
  await plane.start(request, never);
  t.is(taken(), 'prepare, capture, probe, tell, annotate enabled');
  t.is(pods.get('u')?.state, 'enrolled');
});

test('a running pod is captured after the tunnel has answered', async (t) => {
  const { plane, request, taken } = stage();
  await plane.join(request);
  t.is(taken(), 'prepare, probe, tell, look, capture, annotate enabled');
});

test('a new pod whose tunnel fails is forgotten: its sandbox is thrown away', async (t) => {
  const { plane, pods, request, taken } = stage({ fail: new Set(['tell']) });
  await t.throwsAsync(plane.start(request, never), { message: /tell failed/ });
  t.is(taken(), 'prepare, capture, probe, tell, annotate pending, unprobe, untell, forget, close');
  t.is(pods.get('u'), undefined);
});

test('a new pod that was given up meanwhile is not announced', async (t) => {
  const { plane, pods, request, taken } = stage();
  await t.throwsAsync(plane.start(request, AbortSignal.abort()), { code: 'ERR_TIMEOUT' });
  t.notRegex(taken(), /enabled/);
  t.is(pods.get('u'), undefined);
});

test('a running pod whose tunnel fails stays in clear, is pending, and joins at the next try', async (t) => {
  const { plane, pods, request, taken, fail } = stage({ fail: new Set(['tell']) });
  await t.throwsAsync(plane.join(request));
  t.is(taken(), 'prepare, probe, tell, annotate pending');
  t.is(pods.get('u')?.state, 'joining');
  t.is(pods.snapshot().length, 1, 'a tunnel that comes is told of it');
  fail.clear();
  await plane.join(request);
  t.is(taken(), 'prepare, probe, tell, look, capture, annotate enabled');
});

test('a pod leaves: nothing new is captured, peers learn it, then the tunnel goes, then the rules', async (t) => {
  const { plane, pods, request, taken, time } = stage();
  await plane.join(request);
  taken();
  const entry = pods.get('u');
  if (!entry) return t.fail();
  t.is(await plane.leave(entry), LINGER_MS);
  t.is(taken(), 'release nftables, annotate nothing');
  time.nowMs += LINGER_MS - 1;
  t.is(await plane.leave(entry), 1, 'looked at early, it still lingers');
  t.is(taken(), '');
  time.nowMs += 1;
  t.is(await plane.leave(entry), 0);
  t.is(taken(), 'unprobe, untell, clear nftables, close');
});

test('a pod that comes back while it lingers is served all along and captured again', async (t) => {
  const { plane, pods, request, taken } = stage();
  await plane.join(request);
  const entry = pods.get('u');
  if (!entry) return t.fail();
  await plane.leave(entry);
  taken();
  await plane.join(request);
  t.is(taken(), 'prepare, probe, tell, look, capture, annotate enabled');
  t.is(entry.state, 'enrolled');
  t.is(await plane.leave(entry), LINGER_MS, 'and lingers anew when it leaves again');
});

test('a release that fails is repeated, and the pod still lingers', async (t) => {
  const { plane, pods, request, fail } = stage({ fail: new Set(['release nftables']) });
  await plane.join(request);
  const entry = pods.get('u');
  if (!entry) return t.fail();
  await t.throwsAsync(plane.leave(entry));
  t.false(entry.capturing, 'unknown: whoever wants it back has to capture it');
  fail.clear();
  t.is(await plane.leave(entry), LINGER_MS);
});

test('rules stay as long as captured connections are open', async (t) => {
  const { plane, pods, request, taken, busy, leave } = stage({ tunnelled: 2 });
  await plane.join(request);
  const entry = pods.get('u');
  if (!entry) return t.fail();
  t.true((await leave(entry)) > 0);
  t.notRegex(taken(), /clear/);
  t.is(pods.snapshot().length, 0, 'no tunnel is told of it any more');
  busy.tunnelled = 0;
  t.is(await plane.drain(entry), 0);
  t.is(taken(), 'clear nftables, close');
  t.is(pods.get('u'), undefined);
});

test('a pod that comes back while it drains keeps its namespace and is captured again', async (t) => {
  const { plane, pods, request, taken, leave } = stage({ tunnelled: 1 });
  await plane.join(request);
  const entry = pods.get('u');
  if (!entry) return t.fail();
  await leave(entry);
  t.is(entry.state, 'draining');
  taken();
  await plane.join(request);
  t.is(taken(), 'prepare, probe, tell, look, capture, annotate enabled');
});

test('another back-end captures before the former is released', async (t) => {
  const { plane, request, make, taken } = stage();
  await plane.join(request);
  taken();
  await plane.join({ ...request, backend: make('ebpf') });
  t.is(taken(), 'prepare, probe, tell, capture, release nftables, annotate enabled');
});

test('a pod that has ended: probes and tunnel are told, its namespace is closed', async (t) => {
  const { plane, pods, request, taken, fail } = stage();
  await plane.join(request);
  const entry = pods.get('u');
  if (!entry) return t.fail();
  taken();
  fail.add('untell');
  await t.throwsAsync(plane.remove(entry));
  t.is(pods.snapshot().length, 0);
  fail.clear();
  taken();
  await plane.remove(entry);
  t.is(taken(), 'unprobe, untell, forget, close');
});

test('an annotation of a pod that is gone is no failure', async (t) => {
  const { plane, fail } = stage();
  fail.add('annotate nothing');
  await t.throwsAsync(plane.annotate(KEY, undefined), { code: 'ERR_ZDS' });
  const gone = new PodDataplane({
    ...({} as ConstructorParameters<typeof PodDataplane>[0]), // nothing else is reached
    writer: {
      patchStatus: async () => {},
      patchAnnotations: () => Promise.reject(new MeshError('ERR_NOT_FOUND', 'gone')),
    },
  });
  await t.notThrowsAsync(gone.annotate(KEY, undefined));
});

test('the same namespace given again keeps the old handle, another replaces it', (t) => {
  const { pods, request, taken } = stage();
  const entry = { ...request, state: 'joining', capturing: true, servedUntilMs: 0 } as const;
  pods.put({ ...entry });
  const again = fakeNetns('1', () => t.pass());
  pods.put({ ...entry, netns: again });
  t.is(pods.get('u')?.netns, request.netns);
  pods.put({ ...entry, netns: fakeNetns('2', () => {}) });
  t.is(pods.get('u')?.netns.id, '2');
  t.is(taken(), 'close');
});
