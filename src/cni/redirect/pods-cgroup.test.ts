import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findPodsCgroup, mountsOf, podsFolderOf } from './pods-cgroup.ts';

const UID = '1a2b3c4d-0000-4000-8000-0123456789ab';

function tree(t: ExecutionContext, ...folders: readonly string[]): string {
  const root = mkdtempSync(join(tmpdir(), 'culvert-cgroup-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  return root;
}

test('cgroup v2 with the systemd driver: names with underscores', (t) => {
  const slice = `kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice`;
  const root = tree(t, `kubepods.slice/kubepods-burstable.slice/${slice}/cri-containerd-1.scope`);
  t.is(findPodsCgroup(UID, root, `cgroup2 ${root} cgroup2 rw 0 0`), join(root, 'kubepods.slice'));
});

test('a hybrid node with a root of its own: the folder of this node, not the root that nodes share', (t) => {
  const root = tree(t, `unified/kn1/kubepods/besteffort/pod${UID}/abc`, 'unified/kn2/kubepods/podother');
  const mounts = `tmpfs ${root} tmpfs rw 0 0\ncgroup ${root}/cpu cgroup rw,cpu 0 0\ncgroup2 ${root}/unified cgroup2 rw 0 0`;
  t.is(findPodsCgroup(UID, root, mounts), join(root, 'unified/kn1/kubepods'));
});

test('cgroup v1 alone, a pod that is not there, and a mount elsewhere: nothing is found', (t) => {
  const root = tree(t, `kubepods/pod${UID}`);
  t.is(findPodsCgroup(UID, root, `cgroup ${root} cgroup rw,cpu 0 0`), undefined);
  t.is(findPodsCgroup('other', root, `cgroup2 ${root} cgroup2 rw 0 0`), undefined);
  t.is(findPodsCgroup(UID, `${root}/elsewhere`, `cgroup2 ${root} cgroup2 rw 0 0`), undefined);
});

test('distributions that name the folder after themselves', (t) => {
  t.is(podsFolderOf('/c', '/c/kubelet.slice/kubelet-kubepods.slice/x/pod1'), '/c/kubelet.slice/kubelet-kubepods.slice');
  t.is(podsFolderOf('/c', '/c/machine/pod1'), undefined);
});

test('only cgroup2 mounts are named', (t) => {
  t.deepEqual(mountsOf('cgroup /a cgroup rw 0 0\nnone /b cgroup2 rw 0 0\n'), ['/b']);
});
