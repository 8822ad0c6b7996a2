import test from 'ava';
import { isOnBpffs } from './bpffs.ts';

const MOUNTS = `sysfs /sys sysfs rw 0 0
bpf /sys/fs/bpf bpf rw 0 0
tmpfs /run tmpfs rw 0 0
bpf /run/x bpf rw 0 0
tmpfs /run/x/y tmpfs rw 0 0
`;

const isOn = test.macro((t, path: string, expected: boolean) => t.is(isOnBpffs(path, MOUNTS), expected));
test('the mount itself is on it', isOn, '/sys/fs/bpf', true);
test('a folder below is on it', isOn, '/sys/fs/bpf/culvert/node', true);
test('a name that only begins alike is not', isOn, '/sys/fs/bpfother', false);
test('another mount is not', isOn, '/run/culvert', false);
test('the innermost mount decides', isOn, '/run/x/y/z', false);
test('a machine without it', (t) => t.false(isOnBpffs('/sys/fs/bpf', 'sysfs /sys sysfs rw 0 0\n')));
