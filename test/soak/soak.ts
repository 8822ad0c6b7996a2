/**
 * A tunnel process under churn: connections, pods, policies and certificates come and go, and afterwards it holds no more
 * memory and no more descriptors than before. It is measured at rest, with the load paused.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Match } from '../../src/model/authorization.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  authorizationResource,
  ResourceStore,
  workloadResource,
} from '../../src/xds/index.ts';
import { eventually, serveEcho } from '../mesh/apps.ts';
import { captureTraffic, type Namespace } from '../mesh/fabric.ts';
import { type AgentSession, TunnelProcess } from '../mesh/tunnel-process.ts';
import { CallLoad, callOnce, LongStream, type Route } from '../netns/call-load.ts';
import { policy, workload } from '../support/mesh-objects.ts';

export interface SoakOptions {
  readonly seconds: number;
  /** Connections that are opened in each round and never ended: what a leak would look like. */
  readonly kept?: number;
}

export interface Footprint {
  readonly rssMb: number;
  readonly descriptors: number;
}

export interface SoakResult {
  /** After the warm-up, and at the end. */
  readonly before: Footprint;
  readonly after: Footprint;
  readonly calls: number;
  readonly rounds: number;
  readonly failures: readonly string[];
}

const APP_PORT = 8_080;
const CALLS_PER_SECOND = 100;
const ROUND_MS = 1_000;
/** The part of the time in which caches fill and code is compiled. */
const WARM_UP = 0.3;
/** JavaScript's heap breathes by some of it; ten minutes of a leak of one connection's state per call would be more. */
const RSS_GROWTH_MB = 24;
/** Sessions that a thread opened to a peer it had none to before. */
const DESCRIPTOR_GROWTH = 12;
const SETTLE_STEP_MS = 250;
const SETTLE_STEPS = 8;

const NEVER_MATCHES: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [1],
  notDestinationPorts: [],
};

/** What has grown beyond what is left to chance; empty when nothing has. */
export function grown({ before, after }: Pick<SoakResult, 'before' | 'after'>): readonly string[] {
  const problems: string[] = [];
  if (after.rssMb > before.rssMb + RSS_GROWTH_MB) problems.push(`RSS from ${before.rssMb} to ${after.rssMb} MB`);
  if (after.descriptors > before.descriptors + DESCRIPTOR_GROWTH)
    problems.push(`descriptors from ${before.descriptors} to ${after.descriptors}`);
  return problems;
}

/** Rejects when the tunnel dies or refuses a pod. */
export async function soak({ seconds, kept = 0 }: SoakOptions): Promise<SoakResult> {
  await using bed = await Bed.start();
  const endMs = performance.now() + seconds * 1_000;
  const warmMs = performance.now() + seconds * 1_000 * WARM_UP;
  const failures: string[] = [];
  let calls = 0;
  let rounds = 0;
  let before: Footprint | undefined;
  const held: LongStream[] = [];
  while (performance.now() < endMs) {
    const load = new CallLoad(bed.calls, CALLS_PER_SECOND);
    const untilMs = before ? endMs : warmMs;
    while (performance.now() < untilMs) {
      rounds += 1;
      for (let i = 0; i < kept; i++) held.push(await LongStream.open(bed.route));
      await Promise.all([bed.churn(rounds), new Promise((resolve) => setTimeout(resolve, ROUND_MS))]);
    }
    await load[Symbol.asyncDispose]();
    calls += load.answered;
    failures.push(...load.failures);
    before ??= await bed.atRest();
  }
  const after = await bed.atRest();
  for (const stream of held) stream.end();
  return { before: before ?? after, after, calls, rounds, failures };
}

class Bed implements AsyncDisposable {
  readonly route: Route;
  readonly calls: readonly (() => Promise<void>)[];
  readonly #tunnel: TunnelProcess;
  readonly #store: ResourceStore;
  readonly #agent: AgentSession;
  readonly #guest: Namespace;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: { readonly tunnel: TunnelProcess; readonly store: ResourceStore; readonly agent: AgentSession },
    { client, server, guest }: { readonly client: Namespace; readonly server: Namespace; readonly guest: Namespace },
    stack: AsyncDisposableStack,
  ) {
    this.#tunnel = parts.tunnel;
    this.#store = parts.store;
    this.#agent = parts.agent;
    this.#guest = guest;
    this.#stack = stack;
    this.route = { from: client.netns, to: { ip: server.ip4, port: APP_PORT } };
    this.calls = [this.route, { from: server.netns, to: { ip: client.ip6, port: APP_PORT } }].map(
      (route) => () => callOnce(route),
    );
  }

  static async start(): Promise<Bed> {
    const stack = new AsyncDisposableStack();
    try {
      const tunnel = stack.use(await TunnelProcess.create());
      const pods = {
        client: await tunnel.fabric.add(),
        server: await tunnel.fabric.add(),
        guest: await tunnel.fabric.add(),
      };
      const store = await ResourceStore.create();
      for (const [name, { ip4, ip6 }] of Object.entries(pods))
        store.set(ADDRESS_TYPE, workloadResource(workload({ name, addresses: [ip4, ip6] })));
      store.commit();
      await tunnel.listenAsAgent();
      await tunnel.start(store, { SECRET_TTL: '20s', RUST_LOG: 'warn' });
      const agent = await tunnel.acceptTunnel();
      for (const name of ['client', 'server'] as const) {
        const error = await agent.add(name, name, pods[name].netns);
        if (error) throw new Error(error);
      }
      await agent.snapshotSent();
      for (const pod of Object.values(pods)) {
        await captureTraffic(pod);
        stack.use(serveEcho(pod.netns, APP_PORT));
      }
      await eventually('ready', async () => (await tunnel.request(15_021, '/healthz/ready'))?.status === 200);
      return new Bed({ tunnel, store, agent }, pods, stack);
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  /** A pod joins, is called and leaves; a policy comes or goes; a connection is talked over and ended. */
  async churn(round: number): Promise<void> {
    const stream = await LongStream.open(this.route);
    const error = await this.#agent.add('guest', 'guest', this.#guest.netns);
    if (error !== '') throw new Error(`the guest was refused: ${error ?? 'the tunnel has gone'}`);
    const name = `churn-${round % 10}`;
    const denial = policy({ name, action: 'DENY', rules: [{ clauses: [{ matches: [NEVER_MATCHES] }] }] });
    if (round % 20 < 10) this.#store.set(AUTHORIZATION_TYPE, authorizationResource(denial));
    else this.#store.delete(AUTHORIZATION_TYPE, `default/${name}`);
    this.#store.commit();
    await callOnce({ from: this.#guest.netns, to: this.route.to });
    await this.#agent.ask({ case: 'del', value: { uid: 'guest' } });
    stream.end();
  }

  /** With nothing to do: connections have ended, garbage has been asked for by nobody. */
  async atRest(): Promise<Footprint> {
    const { pid } = this.#tunnel;
    const descriptors = (): number => readdirSync(`/proc/${pid}/fd`).length;
    let last = descriptors();
    let unchanged = 0;
    await eventually('descriptors settle', async () => {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_STEP_MS));
      const now = descriptors();
      unchanged = now === last ? unchanged + 1 : 0;
      last = now;
      return unchanged === SETTLE_STEPS;
    });
    const kb = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    return { rssMb: Math.round(kb / 1_024), descriptors: last };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
