/**
 * What every redirection back-end does to a pod, asserted from the sockets of applications and of a tunnel. The control
 * runs the same questions with capture off, where the answers must differ.
 */
import { readdirSync } from 'node:fs';
import test from 'ava';
import type { CapturedPod, RedirectBackend } from '../../src/cni/redirect/port.ts';
import {
  ask,
  echo,
  FAR,
  type Family,
  firstLine,
  NODE,
  open,
  POD,
  PodLab,
  PROBE,
  removeLeftLabs,
  seenByTunnel,
} from './pod-lab.ts';
import { TestTunnel } from './test-tunnel.ts';

export interface BackendFixture extends AsyncDisposable {
  readonly backend: RedirectBackend;
  /** cgroup2 folder of tunnels, for back-ends that know them by it. */
  readonly tunnelCgroup?: string;
  /** Counts what the back-end keeps outside of pods (programs, maps, links, pins). */
  kept?(): string;
}

const FAMILIES: readonly Family[] = [4, 6];
const APP_PORT = 8_080;
const UNSERVED_PORT = 9_999;
const CYCLES = 1_000;
/** The back-ends that start programs, a dozen each time, are then not waiting for one of them. */
const PODS_AT_ONCE = 4;
const CYCLES_TIMEOUT_MS = 900_000;

export function redirectSuite(start: () => Promise<BackendFixture>): void {
  let fixture: BackendFixture;
  let backend: RedirectBackend;
  test.before(async () => {
    removeLeftLabs();
    fixture = await start();
    backend = fixture.backend;
  });
  test.after.always(async () => fixture?.[Symbol.asyncDispose]());

  const startTunnel = async (lab: PodLab): Promise<TestTunnel> => {
    const tunnel = await TestTunnel.start(lab.podPath, fixture.tunnelCgroup);
    await backend.tunnelConnected(tunnel.pid);
    return tunnel;
  };
  const enrol = async (pod: CapturedPod): Promise<void> => {
    await backend.prepare(pod);
    await backend.capture(pod);
  };
  const leave = async (pod: CapturedPod): Promise<void> => {
    await backend.release(pod);
    await backend.clear(pod);
    await backend.forget(pod);
  };

  for (const family of FAMILIES) {
    const from = `IPv${family}`;
    test.serial(`${from}: new connections of the application arrive at 15001 with their destination`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      for (const port of [APP_PORT, UNSERVED_PORT]) {
        const seen = seenByTunnel(await firstLine(lab.netns, FAR[family], port));
        t.like(seen, { port: 15_001, original: `${FAR[family]} ${port}`, remote: POD[family] });
      }
    });

    test.serial(`${from}: new connections from outside arrive at 15006, whatever port they ask for`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.netns, APP_PORT);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      for (const port of [APP_PORT, UNSERVED_PORT]) {
        const seen = seenByTunnel(await firstLine(lab.node, POD[family], port));
        t.like(seen, { port: 15_006, original: `${POD[family]} ${port}`, remote: NODE[family] });
      }
    });

    test.serial(`${from}: 15008 is the tunnel's own`, async (t) => {
      await using lab = new PodLab();
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      const seen = seenByTunnel(await firstLine(lab.node, POD[family], 15_008));
      t.like(seen, { port: 15_008, local: `${POD[family]} 15008` });
    });

    test.serial(`${from}: what the tunnel opens is not captured`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      lab.serve(lab.netns, APP_PORT);
      await using tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      for (const [ip, mark] of [
        [FAR[family], 0x539],
        [POD[family], 0x539],
        [POD[family], 0x111],
      ] as const) {
        const answer = await tunnel.connect({ to: { ip, port: APP_PORT }, mark, timeoutMs: 3_000 });
        t.is(answer.reply?.split('\n')[0], `app ${POD[family]}`, JSON.stringify(answer));
      }
    });

    test.serial(`${from}: the tunnel may show the client's address to the application`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.netns, APP_PORT);
      await using tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      const to = { ip: POD[family], port: APP_PORT };
      const from = { fromIp: FAR[family], transparent: true };
      for (const mark of [0x111, ...(backend.name === 'ebpf' ? [] : [0x539])]) {
        const answer = await tunnel.connect({ to, mark, ...from, timeoutMs: 3_000 });
        t.is(answer.reply?.split('\n')[0], `app ${FAR[family]}`, JSON.stringify(answer));
      }
    });

    test.serial(`${from}: loopback and the pod's own address are left alone`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.netns, APP_PORT);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      const loopback = family === 4 ? ['127.0.0.1', '127.0.0.2'] : ['::1'];
      for (const ip of [...loopback, POD[family]]) t.regex(await firstLine(lab.netns, ip, APP_PORT), /^app /, ip);
    });

    test.serial(`${from}: probes of the kubelet reach the application`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.netns, APP_PORT);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      t.is(await firstLine(lab.node, POD[family], APP_PORT, PROBE[family]), `app ${PROBE[family]}`);
      t.is(seenByTunnel(await firstLine(lab.node, POD[family], APP_PORT)).port, 15_006);
    });

    test.serial(`${from}: queries go to the tunnel and seem to be answered by the server`, async (t) => {
      await using lab = new PodLab();
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      const answer = `tunnel:question from ${FAR[family]} 53`;
      t.is(await ask(lab.netns, FAR[family], 53), answer);
      t.is(await ask(lab.netns, FAR[family], 53, { connected: true }), answer);
      t.like(seenByTunnel(await firstLine(lab.netns, FAR[family], 53)), {
        port: 15_053,
        original: `${FAR[family]} 53`,
      });
    });

    test.serial(`${from}: other datagrams are untouched, both ways`, async (t) => {
      await using lab = new PodLab();
      lab.serveUdp(lab.node, NODE[family], 5_353);
      lab.serveUdp(lab.netns, POD[family], 5_353);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      t.is(await ask(lab.netns, NODE[family], 5_353), `app:question from ${NODE[family]} 5353`);
      t.is(await ask(lab.node, POD[family], 5_353), `app:question from ${POD[family]} 5353`);
    });

    test.serial(`${from}: with the tunnel dead nothing passes, and it recovers with the tunnel`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      lab.serve(lab.netns, APP_PORT);
      lab.serveUdp(lab.node, NODE[family], 53);
      await enrol(lab.pod());
      {
        await using tunnel = await startTunnel(lab);
        t.is(seenByTunnel(await firstLine(lab.netns, FAR[family], APP_PORT)).port, 15_001);
        await tunnel.kill();
      }
      t.is(await firstLine(lab.netns, FAR[family], APP_PORT), 'refused');
      t.is(await firstLine(lab.node, POD[family], APP_PORT), 'refused');
      t.notRegex(await ask(lab.netns, NODE[family], 53), /^app/);
      await using _next = await startTunnel(lab);
      t.is(seenByTunnel(await firstLine(lab.netns, FAR[family], APP_PORT)).port, 15_001);
      t.is(seenByTunnel(await firstLine(lab.node, POD[family], APP_PORT)).port, 15_006);
    });

    test.serial(`${from}: connections open before the pod joins go on, new ones are captured`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      lab.serve(lab.netns, APP_PORT);
      const before = [
        await open(lab.netns, FAR[family], APP_PORT),
        await open(lab.node, POD[family], APP_PORT),
        await open(lab.netns, FAR[family], APP_PORT),
        await open(lab.node, POD[family], APP_PORT),
      ].map(({ socket }) => lab.track(socket));
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      // Two of them speak first from the side that serves, two from the side that called.
      for (const socket of before) for (const text of ['one', 'two']) t.is(await echo(socket, text), text);
      t.is(seenByTunnel(await firstLine(lab.netns, FAR[family], APP_PORT)).port, 15_001);
      t.is(seenByTunnel(await firstLine(lab.node, POD[family], APP_PORT)).port, 15_006);
      for (const socket of before) t.is(await echo(socket, 'three'), 'three');
    });

    test.serial(`${from}: captured connections go on when the pod leaves, new ones are direct`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      lab.serve(lab.netns, APP_PORT);
      await using _tunnel = await startTunnel(lab);
      await enrol(lab.pod());
      const captured = [await open(lab.netns, FAR[family], APP_PORT), await open(lab.node, POD[family], APP_PORT)];
      t.deepEqual(
        captured.map(({ line }) => seenByTunnel(line).port),
        [15_001, 15_006],
      );
      await backend.release(lab.pod());
      t.not(await backend.inspect(lab.pod()), 'capturing');
      for (const { socket } of captured) t.is(await echo(lab.track(socket), 'still here'), 'still here');
      t.is(await firstLine(lab.netns, FAR[family], APP_PORT), `app ${POD[family]}`);
      t.is(await firstLine(lab.node, POD[family], APP_PORT), `app ${NODE[family]}`);
      for (const { socket } of captured) t.is(await echo(socket, 'and now'), 'and now');
      await backend.clear(lab.pod());
      t.is(await backend.inspect(lab.pod()), 'absent');
      t.is(await firstLine(lab.netns, FAR[family], APP_PORT), `app ${POD[family]}`);
    });

    test.serial(`${from}: control: with capture off nothing of this happens`, async (t) => {
      await using lab = new PodLab();
      lab.serve(lab.node, APP_PORT);
      lab.serve(lab.netns, APP_PORT);
      lab.serveUdp(lab.node, NODE[family], 53);
      await using _tunnel = await startTunnel(lab);
      await backend.prepare(lab.pod());
      t.not(await backend.inspect(lab.pod()), 'capturing');
      t.is(await firstLine(lab.netns, FAR[family], APP_PORT), `app ${POD[family]}`);
      t.is(await firstLine(lab.netns, FAR[family], UNSERVED_PORT), 'refused');
      t.is(await firstLine(lab.node, POD[family], APP_PORT), `app ${NODE[family]}`);
      t.is(await ask(lab.netns, NODE[family], 53), `app:question from ${NODE[family]} 53`);
    });
  }

  test.serial('the options of a pod: no DNS capture, ingress left alone, and changing them', async (t) => {
    await using lab = new PodLab();
    lab.serve(lab.netns, APP_PORT);
    lab.serveUdp(lab.node, NODE[4], 53);
    await using _tunnel = await startTunnel(lab);
    await enrol(lab.pod({ dnsCapture: false, ingressBypass: true }));
    t.is(await ask(lab.netns, NODE[4], 53), `app:question from ${NODE[4]} 53`);
    t.is(await firstLine(lab.node, POD[4], APP_PORT), `app ${NODE[4]}`);
    t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
    await backend.capture(lab.pod());
    t.is(await ask(lab.netns, NODE[4], 53), `tunnel:question from ${NODE[4]} 53`);
    t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_006);
  });

  test.serial('what a pod excludes is left alone, until it is excluded no more', async (t) => {
    await using lab = new PodLab();
    for (const where of [lab.netns, lab.node]) for (const port of [APP_PORT, UNSERVED_PORT]) lab.serve(where, port);
    await using _tunnel = await startTunnel(lab);
    const nothing = { outboundPorts: [], outboundRanges: [], inboundPorts: [] };
    await enrol(lab.pod({ exclusions: { ...nothing, outboundPorts: [APP_PORT], inboundPorts: [UNSERVED_PORT] } }));
    for (const family of FAMILIES) {
      t.is(await firstLine(lab.netns, FAR[family], APP_PORT), `app ${POD[family]}`);
      t.is(seenByTunnel(await firstLine(lab.netns, FAR[family], UNSERVED_PORT)).port, 15_001, 'another port');
      t.is(await firstLine(lab.node, POD[family], UNSERVED_PORT), `app ${NODE[family]}`);
      t.is(seenByTunnel(await firstLine(lab.node, POD[family], APP_PORT)).port, 15_006, 'another port');
    }
    await backend.capture(lab.pod({ exclusions: { ...nothing, outboundRanges: [{ ip: FAR[4], prefixLength: 32 }] } }));
    t.is(await firstLine(lab.netns, FAR[4], APP_PORT), `app ${POD[4]}`);
    t.is(seenByTunnel(await firstLine(lab.netns, FAR[6], APP_PORT)).port, 15_001, 'another address');
    t.is(seenByTunnel(await firstLine(lab.node, POD[4], UNSERVED_PORT)).port, 15_006, 'no more');
    await backend.capture(lab.pod());
    t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001, 'no more');
  });

  test.serial('without IPv6 only IPv4 is captured', async (t) => {
    await using lab = new PodLab();
    lab.serve(lab.netns, APP_PORT);
    lab.serve(lab.node, APP_PORT);
    await using _tunnel = await startTunnel(lab);
    await enrol(lab.pod({ ipv6: false }));
    t.is(seenByTunnel(await firstLine(lab.netns, FAR[4], APP_PORT)).port, 15_001);
    t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_006);
    t.is(await firstLine(lab.netns, FAR[6], APP_PORT), `app ${POD[6]}`);
    t.is(await firstLine(lab.node, POD[6], APP_PORT), `app ${NODE[6]}`);
  });

  test.serial('what comes in on a virtual interface is outbound', async (t) => {
    await using lab = new PodLab();
    const pod = lab.pod({ virtualInterfaces: ['eth0'] });
    const refusal = backend.refusal(pod.options);
    if (refusal !== undefined) return t.is(backend.name, 'ebpf', refusal);
    lab.serve(lab.netns, APP_PORT);
    await using _tunnel = await startTunnel(lab);
    await enrol(pod);
    t.is(seenByTunnel(await firstLine(lab.node, POD[4], APP_PORT)).port, 15_001);
  });

  test.serial('a tunnel that replaces another takes over without a refused connection', async (t) => {
    await using lab = new PodLab();
    lab.serve(lab.node, APP_PORT);
    await enrol(lab.pod());
    const old = await startTunnel(lab);
    const lines: string[] = [];
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        lines.push(await firstLine(lab.netns, FAR[4], APP_PORT), await firstLine(lab.node, POD[4], APP_PORT));
      }
    })();
    await using _next = await startTunnel(lab);
    await old.kill(); // a killed one resets what waits in its queue: at most one connection of each kind
    const count = lines.length;
    while (lines.length < count + 20) await new Promise(setImmediate);
    isOver = true;
    await load;
    const failed = lines.filter((line) => !line.startsWith('{'));
    t.true(failed.length <= 2, failed.join());
  });

  test.serial('a pod next to it that is not enrolled is untouched', async (t) => {
    await using enrolled = new PodLab();
    await using other = new PodLab();
    other.serve(other.netns, APP_PORT);
    other.serve(other.node, APP_PORT);
    await using _tunnel = await startTunnel(enrolled);
    await enrol(enrolled.pod());
    t.is(await firstLine(other.node, POD[4], APP_PORT), `app ${NODE[4]}`);
    t.is(await firstLine(other.netns, FAR[4], APP_PORT), `app ${POD[4]}`);
  });

  test.serial(`${CYCLES} times enrolling and leaving, and nothing is left`, async (t) => {
    t.timeout(CYCLES_TIMEOUT_MS);
    await using labs = new AsyncDisposableStack();
    const pods = Array.from({ length: PODS_AT_ONCE }, () => labs.use(new PodLab()));
    const state = (): string =>
      pods.map((lab) => [lab.exec('ip', 'rule'), lab.exec('ip', '-6', 'rule'), tables(lab)].join('\n')).join('\n');
    for (const lab of pods) {
      const pod = lab.pod();
      await leave(pod); // of what is not there
      await enrol(pod);
      await enrol(pod);
      t.is(await backend.inspect(pod), 'capturing');
      await leave(pod);
      await leave(pod);
      t.is(await backend.inspect(pod), 'absent');
    }
    const [clean, kept] = [state(), fixture.kept?.()];
    const open = openDescriptors();
    let left = CYCLES;
    const cycle = async (lab: PodLab): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await enrol(lab.pod());
        await leave(lab.pod());
      }
    };
    await Promise.all(pods.map(cycle));
    for (const lab of pods) t.is(await backend.inspect(lab.pod()), 'absent');
    t.is(state(), clean);
    t.is(fixture.kept?.(), kept);
    t.true(openDescriptors() <= open + 2, `${openDescriptors()} descriptors, ${open} before`);
    await enrol((pods[0] as PodLab).pod()); // the control: what is still enrolled is seen
    t.not(state(), clean);
    await leave((pods[0] as PodLab).pod());
  });
}

function tables(lab: PodLab): string {
  return ['4', '6']
    .map((f) => lab.exec('sh', '-c', `ip -${f} route show table all | grep 'table 100' || true`))
    .join('');
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
