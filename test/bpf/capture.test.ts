/**
 * What only capture by eBPF promises, asserted from applications and a tunnel in real namespaces; what all back-ends
 * promise stands in `test/netns/redirect-suite.ts`.
 */
import { readdirSync } from 'node:fs';
import test from 'ava';
import { BpfLink, BpfMap } from 'ebpf-loader-ts';
import { type CaptureEvent, CapturePrograms, type PodCapture } from '../../src/bpf/index.ts';
import { echo, FAR, firstLine, NODE, open, POD, PodLab, seenByTunnel } from '../netns/pod-lab.ts';
import { TestTunnel } from '../netns/test-tunnel.ts';
import { eventually } from '../support/eventually.ts';
import { TestApp } from './app.ts';
import { NodeCgroup } from './node-cgroup.ts';

const APP_PORT = 8080;
const PODS: PodCapture = { ips: [POD[4], POD[6]], dns: true, ingressBypass: false, ipv6: true };

let cgroup: NodeCgroup;
let capture: CapturePrograms;
let app: TestApp;
test.before(async () => {
  app = new TestApp();
  cgroup = await NodeCgroup.create();
  cgroup.enterPods();
  capture = await openPrograms();
});
test.after.always(async () => {
  capture?.[Symbol.dispose]();
  await cgroup?.[Symbol.asyncDispose]();
  app?.[Symbol.dispose]();
});

function openPrograms(): Promise<CapturePrograms> {
  return CapturePrograms.open({ cgroupPath: cgroup.pods, pinDir: cgroup.pinDir });
}

async function startTunnel(lab: PodLab, name = 'a'): Promise<TestTunnel> {
  capture.joinTunnel(cgroup.tunnel(name));
  return TestTunnel.start(lab.podPath, cgroup.tunnel(name));
}

const FORMS = [
  ['4', FAR[4], FAR[4], POD[4]],
  ['6', FAR[6], FAR[6], POD[6]],
  ['mapped', FAR[4], `::ffff:${FAR[4]}`, `::ffff:${POD[4]}`],
] as const;
for (const [form, ip, shown, self] of FORMS) {
  for (const call of ['tcp', 'fastopen'] as const) {
    test.serial(`${call} ${form}: the application sees the peer it asked for and its own address`, async (t) => {
      await using lab = new PodLab();
      await using _tunnel = await startTunnel(lab);
      capture.enrol(lab.netns, PODS);
      const report = await app.run(lab.podPath, [call, form, ip, APP_PORT]);
      t.like(seenByTunnel(report.line ?? report.text), { port: 15_001, original: `${ip} ${APP_PORT}` });
      t.is(report.peer, `${shown} ${APP_PORT}`);
      t.is(report.self?.split(' ')[0], self);
    });
  }

  for (const call of ['udp', 'udpbound'] as const) {
    test.serial(`${call} ${form}: a query is answered by the tunnel in the name of the server`, async (t) => {
      await using lab = new PodLab();
      await using _tunnel = await startTunnel(lab);
      const BIND = form === '6' ? POD[6] : POD[4];
      lab.serveUdp(lab.node, ip, 53);
      t.is((await app.run(lab.podPath, [call, form, ip, 53], { BIND })).answer, 'app:question', 'control');
      capture.enrol(lab.netns, PODS);
      const report = await app.run(lab.podPath, [call, form, ip, 53], { BIND });
      t.is(report.answer, 'tunnel:question', report.text);
      t.is(report.from, `${shown} 53`);
    });
  }

  test.serial(`mptcp ${form}: does not get around the tunnel`, async (t) => {
    await using lab = new PodLab();
    lab.serve(lab.node, APP_PORT);
    await using _tunnel = await startTunnel(lab);
    t.regex((await app.run(lab.podPath, ['mptcp', form, ip, APP_PORT])).line ?? '', /^app/, 'control');
    capture.enrol(lab.netns, PODS);
    const report = await app.run(lab.podPath, ['mptcp', form, ip, APP_PORT]);
    t.like(seenByTunnel(report.line ?? report.text), { port: 15_001, original: `${ip} ${APP_PORT}` });
  });
}

test.serial('applications of an enrolled pod cannot have the ports of the tunnel', async (t) => {
  await using lab = new PodLab();
  await using _tunnel = await startTunnel(lab);
  const all = ['4', '6'].flatMap((form) => [15_001, 15_006, 15_008, 15_053].map((port) => ({ form, port })));
  const bind = async (protocol: string, form: string, port: number): Promise<string> =>
    (await app.run(lab.podPath, ['bind', protocol, form, port])).text;
  capture.enrol(lab.netns, PODS);
  for (const { form, port } of all) {
    t.is(await bind('tcp', form, port), 'error=EPERM', `${form} ${port}`);
    t.is(await bind('udp', form, port), 'error=EPERM', `${form} ${port}`);
  }
  t.is(await bind('tcp', '4', 15_002), 'bound');
  await using other = new PodLab();
  t.is((await app.run(other.podPath, ['bind', 'tcp', '4', 15_006])).text, 'bound', 'control');
});

test.serial('from outside the ports of the tunnel but 15008 are closed', async (t) => {
  await using lab = new PodLab();
  await using _tunnel = await startTunnel(lab);
  for (const port of [15_001, 15_006])
    t.is(seenByTunnel(await firstLine(lab.node, POD[4], port)).port, port, 'control');
  capture.enrol(lab.netns, PODS);
  for (const family of [4, 6] as const) {
    for (const port of [15_001, 15_006, 15_053]) t.is(await firstLine(lab.node, POD[family], port), 'refused');
    t.is(seenByTunnel(await firstLine(lab.node, POD[family], 15_008)).port, 15_008);
  }
});

test.serial('an application that calls 15001 itself has no original destination', async (t) => {
  await using lab = new PodLab();
  await using _tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, PODS);
  await firstLine(lab.netns, FAR[4], APP_PORT);
  const line: unknown = JSON.parse(await firstLine(lab.netns, POD[4], 15_001));
  t.like(line, { port: 15_001, originalDestination: undefined, local: { ip: POD[4], port: 15_001 } });
});

test.serial('many connections at once keep their own destinations', async (t) => {
  await using lab = new PodLab();
  await using _tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, PODS);
  const lost = capture.counters().originLost;
  const ports = Array.from({ length: 400 }, (_, index) => 20_000 + index);
  for (let start = 0; start < ports.length; start += 100) {
    const seen = await Promise.all(
      ports
        .slice(start, start + 100)
        .map(async (port) => [port, seenByTunnel(await firstLine(lab.netns, FAR[4], port)).original]),
    );
    for (const [port, original] of seen) t.is(original, `${FAR[4]} ${port}`);
  }
  t.is(capture.counters().originLost, lost);
});

test.serial("the tunnel's own connection is known only while it is open", async (t) => {
  await using lab = new PodLab();
  lab.serve(lab.netns, APP_PORT);
  await using tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, PODS);
  const known = (): number => {
    using map = BpfMap.openPinned(`${cgroup.pinDir}/maps/tunnel_connections`);
    return [...map.keys()].filter((key) => key.readBigUInt64LE() === lab.netns.cookie()).length;
  };
  const answer = await tunnel.connect({ to: { ip: POD[4], port: APP_PORT }, mark: 0x539, timeoutMs: 3_000 });
  t.regex(answer.reply ?? '', /^app/);
  await eventually(() => known() === 0);
  const refused = await tunnel.connect({ to: { ip: POD[4], port: 9_999 }, mark: 0x539, timeoutMs: 3_000 });
  t.is(refused.error, 'ECONNREFUSED');
  await eventually(() => known() === 0);
});

test.serial('a second tunnel takes over at once, and the first one serves again when it crashes', async (t) => {
  await using lab = new PodLab();
  await using first = await startTunnel(lab, 'one');
  capture.enrol(lab.netns, PODS);
  const old = [await open(lab.node, POD[4], APP_PORT), await open(lab.netns, FAR[4], APP_PORT)];
  await using second = await startTunnel(lab, 'two');
  const taken = [];
  for (let count = 0; count < 16; count++) {
    taken.push(await open(lab.node, POD[4], APP_PORT), await open(lab.netns, FAR[6], APP_PORT));
  }
  for (const { socket } of [...old, ...taken]) t.is(await echo(lab.track(socket), 'x'), 'x');
  const ended = taken.map(({ socket }) => new Promise((resolve) => socket.once('end', resolve).once('close', resolve)));
  await second.kill();
  for (const { socket } of taken) socket.resume();
  await Promise.all(ended); // all of the new ones were the second's
  for (const { socket } of old) t.is(await echo(socket, 'y'), 'y');
  t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_006);
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
  await first.kill();
  t.is(await firstLine(lab.node, POD[4], APP_PORT), 'refused');
});

test.serial('no connection fails while tunnels take turns', async (t) => {
  await using lab = new PodLab();
  let tunnel = await startTunnel(lab, 'turn-0');
  capture.enrol(lab.netns, PODS);
  const stop = new AbortController();
  const lines: string[] = [];
  const calls = (async () => {
    while (!stop.signal.aborted) lines.push(await firstLine(lab.node, POD[4], APP_PORT));
  })();
  for (let turn = 1; turn <= 3; turn++) {
    const next = await startTunnel(lab, `turn-${turn}`);
    const served = lines.length;
    await eventually(() => lines.length > served + 20);
    await tunnel.kill();
    tunnel = next;
  }
  stop.abort();
  await calls;
  await tunnel.kill();
  t.deepEqual(
    lines.filter((line) => !line.startsWith('{')),
    [],
  );
});

test.serial('while the agent is away capture goes on, and its return replaces programs, not links', async (t) => {
  await using lab = new PodLab();
  await using _tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, PODS);
  const links = (): Record<string, readonly [number, number]> =>
    Object.fromEntries(
      ['node', 'pods', 'tunnels'].flatMap((folder) =>
        readdirSync(`${cgroup.pinDir}/${folder}`).map((name) => {
          using link = BpfLink.openPinned(`${cgroup.pinDir}/${folder}/${name}`);
          const { id, programId } = link?.info() ?? { id: 0, programId: 0 };
          return [`${folder}/${name}`, [id, programId]] as const;
        }),
      ),
    );
  const before = links();
  const held = await open(lab.netns, FAR[4], APP_PORT);
  capture[Symbol.dispose]();
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
  t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_006);
  capture = await openPrograms();
  const after = links();
  t.deepEqual(Object.keys(after), Object.keys(before));
  for (const [name, [id, programId]] of Object.entries(after)) {
    t.is(id, before[name]?.[0] ?? 0, name);
    const cookie = lab.netns.cookie().toString();
    if (name.startsWith('node/') || name === `pods/${cookie}`) t.not(programId, before[name]?.[1], name);
  }
  t.is(capture.state(lab.netns), 'active');
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
  t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_006);
  t.is(await echo(lab.track(held.socket), 'held'), 'held');
});

test.serial('a namespace that is gone is swept', async (t) => {
  const podLinks = (): number => {
    capture.sweep();
    return readdirSync(`${cgroup.pinDir}/pods`).length;
  };
  await eventually(() => podLinks() === 0); // the kernel ends the namespaces of earlier tests in its own time
  const kept = cgroup.kept();
  {
    await using lab = new PodLab();
    capture.enrol(lab.netns, PODS);
    t.not(cgroup.kept(), kept);
    t.is(capture.sweep(), 0);
  }
  await eventually(() => capture.sweep() === 1);
  t.is(cgroup.kept(), kept);
});

test.serial('an address of the pod that the agent does not know is refused, and the refusal is told', async (t) => {
  await using lab = new PodLab();
  lab.serve(lab.netns, APP_PORT);
  await using _tunnel = await startTunnel(lab);
  t.regex(await firstLine(lab.node, POD[4], APP_PORT), /^app/, 'control');
  const stop = new AbortController();
  const events = capture.events(stop.signal);
  capture.enrol(lab.netns, { ...PODS, ips: [POD[6]] });
  t.is(await firstLine(lab.node, POD[4], APP_PORT), 'refused');
  const isIt = ({ reason, ip, port }: CaptureEvent): boolean =>
    reason === 'inboundRefused' && ip === POD[4] && port === APP_PORT;
  for await (const event of events) if (isIt(event)) break; // older ones may still wait in the ring
  t.pass();
  stop.abort();
});

test.serial('a pod without IPv4 refuses IPv4 connections of its applications', async (t) => {
  await using lab = new PodLab();
  lab.serve(lab.node, APP_PORT);
  await using _tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, { ...PODS, ips: [POD[6]] });
  t.is(await firstLine(lab.netns, FAR[4], APP_PORT), 'eperm');
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[6], APP_PORT)).port, 15_001);
});

test.serial('IPv6 is left alone when it is not captured', async (t) => {
  await using lab = new PodLab();
  lab.serve(lab.node, APP_PORT);
  lab.serve(lab.netns, APP_PORT);
  await using _tunnel = await startTunnel(lab);
  capture.enrol(lab.netns, { ...PODS, ipv6: false });
  t.is(await firstLine(lab.netns, FAR[6], APP_PORT), `app ${POD[6]}`);
  t.is(await firstLine(lab.node, POD[6], APP_PORT), `app ${NODE[6]}`);
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
});

test.serial('a full map fails the enrolment, and nothing of the pod is kept', async (t) => {
  await using small = await NodeCgroup.create();
  using programs = await CapturePrograms.open({
    cgroupPath: small.pods,
    pinDir: small.pinDir,
    maxEntries: { pods: 1 },
  });
  await using first = new PodLab();
  await using second = new PodLab();
  programs.enrol(first.netns, { ...PODS, ips: ['10.1.0.1'] });
  const kept = small.kept();
  t.throws(() => programs.enrol(second.netns, { ...PODS, ips: ['10.1.0.2'] }), { code: 'E2BIG' });
  t.is(programs.state(second.netns), 'absent');
  t.is(small.kept(), kept);
  programs.forget(first.netns.cookie());
  programs.enrol(second.netns, { ...PODS, ips: ['10.1.0.2'] });
  t.is(programs.state(second.netns), 'active');
});

test.serial('maps of another size are replaced with their entries, those of another shape are refused', async (t) => {
  await using node = await NodeCgroup.create();
  await using lab = new PodLab();
  const open = (pods: number, listeners = 16_384): Promise<CapturePrograms> =>
    CapturePrograms.open({ cgroupPath: node.pods, pinDir: node.pinDir, maxEntries: { pods, listeners } });
  using before = await open(16);
  before.enrol(lab.netns, PODS);
  using after = await open(32);
  t.is(after.state(lab.netns), 'active');
  after.release(lab.netns);
  t.is(after.state(lab.netns), 'inactive');
  after.enrol(lab.netns, PODS);
  await t.throwsAsync(open(32, 8), { code: 'ERR_UNSUPPORTED' });
  t.is(after.state(lab.netns), 'active');
});

test.serial('a node beside it with the same addresses is another world', async (t) => {
  await using node = await NodeCgroup.create();
  using programs = await CapturePrograms.open({ cgroupPath: node.pods, pinDir: node.pinDir });
  await using lab = new PodLab();
  lab.serve(lab.node, APP_PORT);
  await using _tunnel = await startTunnel(lab);
  programs.enrol(lab.netns, PODS);
  t.is(await firstLine(lab.netns, FAR[4], APP_PORT), `app ${POD[4]}`, 'this process is in the other node');
  t.is(await firstLine(lab.node, POD[4], APP_PORT), 'refused', 'the tunnel is no tunnel of that node');
  programs.forget(lab.netns.cookie());
  capture.enrol(lab.netns, PODS);
  t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
});
