import test from 'ava';
import fc from 'fast-check';
import { podUidOf, startTicksOf } from './procfs.ts';

const UID = '8d4c4b1c-7c83-4b0f-a0fb-3a2b6f1c9d10';
const UNDERSCORED = UID.replaceAll('-', '_');

const names = test.macro((t, cgroup: string, uid: string | undefined, kubepods?: string) => {
  t.is(podUidOf(cgroup, kubepods), uid);
});
test('cgroupfs driver', names, `0::/kubepods/burstable/pod${UID}/2f7a\n`, UID);
test(
  'systemd driver',
  names,
  `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDERSCORED}.slice/cri-containerd-2f7a.scope`,
  UID,
);
test('cgroup v1 lines', names, `12:cpu:/kubepods/pod${UID}/2f7a\n11:memory:/kubepods/pod${UID}/2f7a\n`, UID);
test('below a folder called pods', names, `0::/node1/pods/pod${UID}/c`, UID);
test('a UID that is no UUID', names, '0::/node1/kubepods/podztunnel-node1/c', 'ztunnel-node1');
test('a process of the system', names, '0::/system.slice/ssh.service\n', undefined);
test('the root', names, '0::/\n', undefined);
test('below the given folder', names, `0::/c1/node1/kubepods/pod${UID}/c`, UID, '/sys/fs/cgroup/c1/node1/kubepods');
test(
  'below another cluster',
  names,
  `0::/c2/node1/kubepods/pod${UID}/c`,
  undefined,
  '/sys/fs/cgroup/c1/node1/kubepods',
);
test('a similar folder name', names, `0::/xc1/kubepods/pod${UID}/c`, undefined, '/sys/fs/cgroup/c1/kubepods');

test('any text names a pod or none', (t) => {
  fc.assert(fc.property(fc.string(), (text) => void t.notThrows(() => podUidOf(text, '/sys/fs/cgroup/kubepods'))));
});

test('start time stands behind the command, whatever the command is called', (t) => {
  const rest = Array.from({ length: 20 }, (_, i) => `${i + 1}`).join(' ');
  for (const command of ['sleep', 'a b', ')) (', 'x) S 1']) t.is(startTicksOf(`17 (${command}) ${rest}\n`), 20);
  t.is(startTicksOf('17 (sleep) S 1'), undefined);
  fc.assert(fc.property(fc.string(), (text) => void t.notThrows(() => startTicksOf(text))));
});
