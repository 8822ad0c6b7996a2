import test from 'ava';
import fc from 'fast-check';
import { cgroup2Path, mountOf } from './tunnel-cgroup.ts';

test('the path of the unified hierarchy', (t) => {
  t.is(cgroup2Path('12:cpu:/a\n0::/kubepods.slice/tunnel.scope\n'), '/kubepods.slice/tunnel.scope');
  t.is(cgroup2Path('0::/x (deleted)'), '/x');
  t.is(cgroup2Path('1:name=systemd:/x'), undefined);
  t.is(cgroup2Path(''), undefined);
});

test('the deepest mount that holds a path', (t) => {
  const mounts =
    'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ncgroup2 /sys/fs/cgroup/inner cgroup2 rw 0 0\ntmpfs /sys/fs tmpfs rw 0 0';
  t.is(mountOf('/sys/fs/cgroup/kubepods', mounts), '/sys/fs/cgroup');
  t.is(mountOf('/sys/fs/cgroup/inner/kubepods', mounts), '/sys/fs/cgroup/inner');
  t.is(mountOf('/sys/fs/cgroups', mounts), undefined);
});

test('any text is read without a throw', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (path, text) => {
      cgroup2Path(text);
      mountOf(path, text);
    }),
  );
  t.pass();
});
