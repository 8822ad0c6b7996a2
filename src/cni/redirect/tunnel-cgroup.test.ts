import test from 'ava';
import fc from 'fast-check';
import { cgroup2Path, mountOf } from './tunnel-cgroup.ts';

test('the cgroup2 line is found among those of version 1', (t) => {
  t.is(cgroup2Path('12:cpu:/a\n1:name=systemd:/b\n0::/node/system/ztunnel\n'), '/node/system/ztunnel');
  t.is(cgroup2Path('12:cpu:/a\n'), undefined);
  t.is(cgroup2Path('0::/gone (deleted)\n'), '/gone');
});

test('the mount that holds a folder is found', (t) => {
  const mounts = 'cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
  t.is(mountOf('/sys/fs/cgroup/unified/kubepods', mounts), '/sys/fs/cgroup/unified');
  t.is(mountOf('/sys/fs/cgroup/cpu/kubepods', mounts), undefined);
});

test('any text is read without throwing', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      cgroup2Path(text);
      mountOf('/a', text);
      t.pass();
    }),
  );
});
