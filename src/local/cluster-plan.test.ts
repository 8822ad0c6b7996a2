import test from 'ava';
import { MeshError } from '../core/errors.ts';
import { findCgroup2 } from './cgroup.ts';
import { planCluster, podNetns } from './cluster-plan.ts';
import { fabricCommands, nodeCommands } from './network.ts';
import { RestartDelay } from './restart-delay.ts';

test('a plan is the same each time, and nodes share nothing', (t) => {
  const plan = planCluster('dev', '/run/culvert/dev', 2);
  t.deepEqual(plan, planCluster('dev', '/run/culvert/dev', 2));
  const values = plan.nodes.flatMap(({ netns, ipv4, ipv6, podCidr4, podCidr6, dir, cgroup }) => [
    netns,
    ipv4,
    ipv6,
    podCidr4,
    podCidr6,
    dir,
    cgroup,
  ]);
  t.is(new Set(values).size, values.length);
});

test('no name of one cluster starts like those of another', (t) => {
  const clusters = [
    planCluster('a', '/run/culvert/a', 1),
    planCluster('a-b', '/run/culvert/a-b', 1),
    planCluster('a', '/elsewhere/a', 1),
  ];
  for (const one of clusters) {
    for (const other of clusters) {
      if (one !== other) t.false(podNetns(other, 'x').startsWith(`${one.prefix}.`), `${other.prefix} ${one.prefix}`);
    }
  }
});

for (const name of ['', 'A', 'a.b', '-a', 'a-', 'a/b', 'x'.repeat(31)]) {
  test(`'${name}' is no cluster name`, (t) => {
    t.is(t.throws(() => planCluster(name, '/x', 1), { instanceOf: MeshError })?.code, 'ERR_CONFIG');
  });
}

test('every node has ways to the pods of all others, the fabric to all', (t) => {
  const plan = planCluster('dev', '/run/culvert/dev', 3);
  const [first] = plan.nodes;
  const routes = nodeCommands(plan, first!).filter((line) => line.startsWith('route add 10.244.')); // three nodes
  t.deepEqual(routes, ['route add 10.244.2.0/24 via 172.30.0.12', 'route add 10.244.3.0/24 via 172.30.0.13']);
  t.is(fabricCommands(plan).filter((line) => line.startsWith('route add ')).length, 6);
});

test('the cgroup2 mount is found among others', (t) => {
  const mounts = 'cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
  t.is(findCgroup2(mounts), '/sys/fs/cgroup/unified');
  t.is(findCgroup2('proc /proc proc rw 0 0\n'), undefined);
});

test('the wait before a restart doubles, has a limit, and starts over after a long run', (t) => {
  const delay = new RestartDelay();
  t.deepEqual([delay.afterRun(0), delay.afterRun(0), delay.afterRun(0)], [100, 200, 400]);
  for (let i = 0; i < 20; i++) delay.afterRun(0);
  t.is(delay.afterRun(0), 10_000);
  t.is(delay.afterRun(60_000), 100);
});
