/**
 * A tunnel that is replaced by another under load, with the real program on two nodes and each redirection back-end: no
 * call fails, no connection breaks before the drain limit. In the control the old tunnel is killed instead.
 */
import test from 'ava';
import type { BackendName, RedirectBackend } from '../../src/cni/redirect/port.ts';
import { eventually, serveEcho } from '../mesh/apps.ts';
import type { Namespace } from '../mesh/fabric.ts';
import { localWorkload, TunnelProcess } from '../mesh/tunnel-process.ts';
import { askOnce, CallLoad, callOnce, LongStream, type Route } from './call-load.ts';
import { OPTIONS } from './pod-lab.ts';

export interface UpgradeFixture extends AsyncDisposable {
  readonly backend: RedirectBackend;
  /** Shell command by which the tunnel of that name enters its cgroup; for back-ends that know tunnels by it. */
  enter(tunnel: string): string;
}

/** Of them 500 new connections, the rest queries to the DNS proxy. */
const CALLS_PER_SECOND = 550;
const DRAIN_LIMIT_MS = 8_000;
const STREAMS = 10;
const APP_PORT = 8_080;
const SERVICE = {
  name: 'b',
  namespace: 'default',
  hostname: 'b.default.svc.cluster.local',
  vips: ['/10.96.0.1'],
  ports: {},
};
/** Type A of that service. */
const QUERY = Buffer.from(
  '0007010000010000000000000162' + '0764656661756c7403737663' + '07636c7573746572056c6f63616c00' + '00010001',
  'hex',
);

/** One after the other: two such loads at once would measure the machine. */
export function upgradeSuite(name: BackendName, start: () => Promise<UpgradeFixture>): void {
  test.serial(`${name}: no call fails and no connection breaks while a tunnel is replaced`, async (t) => {
    t.timeout(120_000);
    await using scene = await Scene.start(await start());
    const { load, streams, old } = scene;
    await load.more(CALLS_PER_SECOND);
    const next = await scene.startNext();
    await load.more(CALLS_PER_SECOND);
    const endedMs = performance.now();
    old.kill('SIGTERM');
    await load.more(2 * CALLS_PER_SECOND);
    const counts = streams.map(({ exchanged }) => exchanged);
    await eventually('every old connection is talked over', () => streams.every((s, i) => s.exchanged > counts[i]!)); // as long
    for (const stream of streams.slice(0, STREAMS / 2)) stream.end();
    t.is(await old.exited(), 0);
    await load.more(CALLS_PER_SECOND / 2);
    await load[Symbol.asyncDispose]();
    t.deepEqual(load.failures, []);
    const [ended, kept] = [streams.slice(0, STREAMS / 2), streams.slice(STREAMS / 2)];
    t.deepEqual(
      ended.map(({ brokenMs }) => brokenMs),
      ended.map(() => undefined),
    );
    for (const { brokenMs = 0 } of kept) t.true(brokenMs - endedMs >= DRAIN_LIMIT_MS, `${brokenMs - endedMs} ms`);
    t.log(
      `${load.answered} calls answered, ${next.output.match(/connection complete/g)?.length} lines of the new tunnel`,
    );
  });

  test.serial(`${name}: control: killed and started again, calls fail and connections break`, async (t) => {
    t.timeout(120_000);
    await using scene = await Scene.start(await start());
    const { load, streams, old } = scene;
    await load.more(CALLS_PER_SECOND / 2);
    old.kill('SIGKILL');
    await eventually('connections break', () => streams.every(({ brokenMs }) => brokenMs !== undefined));
    await scene.startNext();
    const { answered } = load;
    await eventually('calls go through again', () => load.answered > answered);
    await load[Symbol.asyncDispose]();
    t.true(load.failures.length > 0);
  });
}

/** Pods `a` on node n1 and `b` on n2 call each other, and n1's own two pods; n1's tunnel is the one to be replaced. */
class Scene implements AsyncDisposable {
  readonly old: TunnelProcess;
  readonly load: CallLoad;
  readonly streams: LongStream[] = [];
  readonly #fixture: UpgradeFixture;
  readonly #stack: AsyncDisposableStack;
  readonly #pods: Readonly<Record<'a' | 'b', Namespace>>;

  private constructor(
    fixture: UpgradeFixture,
    stack: AsyncDisposableStack,
    { old, pods, load }: { readonly old: TunnelProcess; readonly pods: Scene['pods']; readonly load: CallLoad },
  ) {
    this.#fixture = fixture;
    this.#stack = stack;
    this.old = old;
    this.#pods = pods;
    this.load = load;
  }

  get pods(): Readonly<Record<'a' | 'b', Namespace>> {
    return this.#pods;
  }

  static async start(fixture: UpgradeFixture): Promise<Scene> {
    const stack = new AsyncDisposableStack();
    try {
      stack.use(fixture);
      const old = stack.use(await TunnelProcess.create());
      const pods = { a: await old.fabric.add(), b: await old.fabric.add() };
      const far = stack.use(await old.sibling());
      for (const pod of Object.values(pods)) stack.use(serveEcho(pod.netns, APP_PORT));
      await serve(fixture, far, { name: 'far', node: 'n2', pods });
      await serve(fixture, old, { name: 'old', node: 'n1', pods });
      for (const [name, { netns, ip4, ip6 }] of Object.entries(pods)) {
        const pod = { uid: name, netns, ips: [ip4, ip6], options: OPTIONS };
        await fixture.backend.prepare(pod);
        await fixture.backend.capture(pod);
      }
      const routes: readonly Route[] = [
        { from: pods.a.netns, to: { ip: pods.b.ip4, port: APP_PORT } },
        { from: pods.b.netns, to: { ip: pods.a.ip4, port: APP_PORT } },
        { from: pods.b.netns, to: { ip: pods.a.ip6, port: APP_PORT } },
      ];
      const resolver = { from: pods.a.netns, to: { ip: pods.b.ip4, port: 53 } };
      const connections = [0, 1, 2, 3].flatMap(() => routes.map((route) => () => callOnce(route)));
      const calls = [...connections, () => askOnce(resolver, QUERY)];
      const load = stack.use(new CallLoad(calls, CALLS_PER_SECOND));
      const scene = new Scene(fixture, stack, { old, pods, load });
      for (let i = 0; i < STREAMS; i++) scene.streams.push(await LongStream.open(routes[i % routes.length]!)); // in range
      return scene;
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** The tunnel that takes over n1: ready when this resolves. */
  async startNext(): Promise<TunnelProcess> {
    const next = this.#stack.use(await this.old.sibling());
    await serve(this.#fixture, next, { name: 'next', node: 'n1', pods: this.#pods });
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.streams) stream.end();
    await this.#stack.disposeAsync();
  }
}

/** Starts a tunnel for that node and gives it the node's pod, as the agent would. */
async function serve(
  { backend, enter }: UpgradeFixture,
  tunnel: TunnelProcess,
  {
    name,
    node,
    pods,
  }: { readonly name: string; readonly node: 'n1' | 'n2'; readonly pods: Readonly<Record<'a' | 'b', Namespace>> },
): Promise<void> {
  await tunnel.listenAsAgent();
  const workloads = [localWorkload('a', pods.a, 'n1'), localWorkload('b', pods.b, 'n2')];
  const state = { workloads, services: [SERVICE] };
  const env = { NODE_NAME: node, CONNECTION_TERMINATION_DEADLINE: `${DRAIN_LIMIT_MS}ms` };
  await tunnel.start(state, env, enter(name));
  const agent = await tunnel.acceptTunnel();
  await backend.tunnelConnected(tunnel.pid);
  const pod = node === 'n1' ? 'a' : 'b';
  const error = (await agent.add(pod, pod, pods[pod].netns)) || (await agent.snapshotSent());
  if (error) throw new Error(error);
  await eventually('ready', async () => (await tunnel.request(15_021, '/healthz/ready'))?.status === 200);
}
