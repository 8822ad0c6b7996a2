/** Policy rules, local routes, addresses and sysctls of a namespace, checked with iproute2 and from inside. */
import test, { type ExecutionContext } from 'ava';
import {
  addRule,
  deleteLocalRoute,
  deleteRule,
  localAddresses,
  NetnsError,
  readSysctl,
  replaceLocalRoute,
  writeSysctl,
} from 'culvert-netns';
import { removeLeftNamespaces, TestNamespace } from './namespace.ts';

test.before(removeLeftNamespaces);

function code(t: ExecutionContext, f: () => unknown): string | undefined {
  const error = t.throws(f);
  return error instanceof NetnsError ? error.code : undefined;
}

for (const family of [4, 6] as const) {
  const RULE = { family, fwmark: 0x111, mask: 0xfff, table: 100, priority: 32_764 };
  const rules = (ns: TestNamespace) => ns.ip(`-${family}`, 'rule', 'show');
  const route = (ns: TestNamespace, table: number) =>
    ns
      .ip(`-${family}`, 'route', 'show', 'table', 'all')
      .split('\n')
      .filter((line) => line.includes(`table ${table} `));

  test(`a rule is added once however often it is asked for, and deleted, IPv${family}`, (t) => {
    using ns = new TestNamespace();
    const before = rules(ns);
    for (let i = 0; i < 3; i++) addRule(ns.netns, RULE);
    t.is(rules(ns).match(/32764:\tfrom all fwmark 0x111\/0xfff lookup 100/g)?.length, 1);
    addRule(ns.netns, { ...RULE, priority: 32_763, table: 70_000 });
    t.regex(rules(ns), /32763:\tfrom all fwmark 0x111\/0xfff lookup 70000/);
    deleteRule(ns.netns, { ...RULE, priority: 32_763, table: 70_000 });
    for (let i = 0; i < 2; i++) deleteRule(ns.netns, RULE);
    t.is(rules(ns), before);
  });

  test(`deleting takes no rule that differs, IPv${family}`, (t) => {
    using ns = new TestNamespace();
    addRule(ns.netns, RULE);
    const before = rules(ns);
    deleteRule(ns.netns, { ...RULE, mask: 0xff });
    deleteRule(ns.netns, { ...RULE, table: 101 });
    deleteRule(ns.netns, { ...RULE, priority: 7 });
    t.is(rules(ns), before);
  });

  test(`a table makes every address local and stops doing so, IPv${family}`, (t) => {
    using ns = new TestNamespace();
    for (let i = 0; i < 2; i++) replaceLocalRoute(ns.netns, { family, table: 100 });
    replaceLocalRoute(ns.netns, { family, table: 70_000 });
    t.is(route(ns, 100).length, 1);
    t.regex(route(ns, 100)[0] ?? '', /^local default dev lo table 100 /);
    t.is(route(ns, 70_000).length, 1);
    for (let i = 0; i < 2; i++) deleteLocalRoute(ns.netns, { family, table: 100 });
    deleteLocalRoute(ns.netns, { family, table: 70_000 });
    t.deepEqual([...route(ns, 100), ...route(ns, 70_000)], []);
  });

  test(`with rule and route a marked packet to a foreign address stays here, IPv${family}`, (t) => {
    using ns = new TestNamespace();
    const foreign = family === 4 ? '192.0.2.9' : '2001:db8::9';
    const lookup = () => ns.ip(`-${family}`, 'route', 'get', foreign, 'mark', '0x111');
    t.throws(lookup, undefined, 'control: without them there is no route');
    addRule(ns.netns, RULE);
    replaceLocalRoute(ns.netns, { family, table: 100 });
    t.regex(lookup(), new RegExp(`^local ${foreign} `));
  });
}

test('addresses of all interfaces are listed, each once', (t) => {
  using ns = new TestNamespace();
  ns.addBlackHole();
  ns.ip('addr', 'add', '10.99.0.1/32', 'dev', 'lo');
  const addresses = localAddresses(ns.netns).filter((ip) => !ip.startsWith('fe80:'));
  t.deepEqual([...addresses].sort(), ['10.99.0.1', '127.0.0.1', '::1', 'fd99::1']);
});

test('a sysctl is that of the namespace and of no other', (t) => {
  using a = new TestNamespace();
  using b = new TestNamespace();
  const name = 'net.ipv4.tcp_fwmark_accept';
  const here = readSysctl(undefined, name);
  t.is(readSysctl(a.netns, name), '0');
  writeSysctl(a.netns, name, '1');
  t.is(readSysctl(a.netns, name), '1');
  t.is(a.exec('cat', ['/proc/sys/net/ipv4/tcp_fwmark_accept']).trim(), '1');
  t.is(readSysctl(b.netns, name), '0');
  t.is(readSysctl(undefined, name), here);
});

test('an interface name with a dot is written with slashes', (t) => {
  using ns = new TestNamespace();
  ns.ip('link', 'add', 'eth0.1', 'type', 'veth', 'peer', 'name', 'eth0.2');
  writeSysctl(ns.netns, 'net/ipv4/conf/eth0.2/forwarding', '0'); // new namespaces inherit the machine's
  writeSysctl(ns.netns, 'net/ipv4/conf/eth0.1/forwarding', '1');
  t.is(readSysctl(ns.netns, 'net/ipv4/conf/eth0.1/forwarding'), '1');
  t.is(readSysctl(ns.netns, 'net/ipv4/conf/eth0.2/forwarding'), '0');
});

test('settings outside net, unknown ones and bad values are refused', (t) => {
  using ns = new TestNamespace();
  for (const name of [
    'kernel.hostname',
    'net',
    'net/../kernel/hostname',
    '/net/ipv4/ip_forward',
    'net..x',
    'net.ipv4.a\0b',
  ])
    t.is(
      code(t, () => readSysctl(ns.netns, name)),
      'EINVAL',
      name,
    );
  t.is(
    code(t, () => readSysctl(ns.netns, 'net.ipv4.no_such')),
    'ENOENT',
  );
  t.is(
    code(t, () => writeSysctl(ns.netns, 'net.ipv4.tcp_fwmark_accept', 'many')),
    'EINVAL',
  );
  t.is(
    code(t, () => writeSysctl(ns.netns, 'net.ipv4.tcp_fwmark_accept', '')),
    'EINVAL',
  );
});
