/**
 * `npm run demo`: a two-node mesh of real processes, shown in six acts, and a waypoint in one more with `--waypoint`. Exits
 * with 0 only when every claim was true and nothing is left behind. `--keep` leaves the cluster running and says what to try.
 */
import { Command } from 'commander';
import ora from 'ora';
import { errorMessage, MeshError } from '../core/errors.ts';
import { DEFAULT_ROOT, remainsOf } from '../local/index.ts';
import {
  actEnrol,
  actIdentity,
  actInClear,
  actLeave,
  actMeasure,
  actPolicy,
  claim,
  type Memory,
  type Narrator,
  unharmed,
} from './demo-acts.ts';
import { Stage } from './demo-stage.ts';
import { actWaypoint } from './demo-waypoint.ts';
import { bringUp, checkMachine, takeDown } from './local-cluster.ts';

interface DemoOptions {
  readonly keep: boolean;
  readonly name: string;
  readonly redirect: string;
  readonly waypoint: boolean;
}

const SHOP_PODS = 7;
const DEMO_PODS = SHOP_PODS + 2;

/** A terminal that does not tell its width makes a spinner draw for ever. */
const SPINNER_COLUMNS_MIN = 20;

let acts = 0;
const narrator: Narrator = {
  act(title) {
    acts += 1;
    console.log(`\n${acts}. ${title}`);
  },
  async doing(text, work) {
    if (!hasSpinner()) {
      console.log(`  ${text} ...`);
      return console.log(`  ✔ ${await work()}`);
    }
    const spinner = ora({ text, indent: 2, discardStdin: false, stream: process.stdout }).start();
    try {
      spinner.succeed(await work());
    } catch (error) {
      spinner.fail(text);
      throw error;
    }
  },
};

function hasSpinner(): boolean {
  return process.stdout.isTTY && process.stdout.columns >= SPINNER_COLUMNS_MIN;
}

async function run({ keep, name, redirect, waypoint }: DemoOptions): Promise<void> {
  checkMachine();
  const startedMs = performance.now();
  let stage: Stage | undefined;
  await narrator.doing('making two nodes with a tunnel and an agent each, and a control plane', async () => {
    const plan = await bringUp({ name, root: DEFAULT_ROOT, nodes: 2, mesh: true, redirect, tied: !keep });
    stage = new Stage(plan);
    return `a cluster of two nodes is up after ${seconds(startedMs)} s`;
  });
  if (!stage) throw new MeshError('ERR_SYSTEM', 'there is no cluster');
  await play(stage, waypoint);
  if (keep) return invite(name);
  await narrator.doing('removing the cluster', async () => {
    const { plan } = stage!; // set above
    await takeDown(name, DEFAULT_ROOT);
    const remains = await remainsOf(plan);
    claim(remains.length === 0, `nothing is left behind: ${remains.join(', ')}`);
    return 'no process, namespace, cgroup, pin or file is left';
  });
  console.log(`\nEverything shown was true. ${seconds(startedMs)} s.`);
}

async function play(stage: Stage, waypoint: boolean): Promise<void> {
  const memory: Memory = { before: new Set() };
  await narrator.doing('starting a book shop', async () => {
    await stage.apply('bookinfo.yaml', 'meter.yaml');
    await stage.allReady(SHOP_PODS + 1);
    await stage.apply('shopper.yaml');
    await stage.allReady(DEMO_PODS);
    return `a book shop of ${SHOP_PODS} pods runs, and a shopper who never rests`;
  });
  await actInClear(stage, narrator, memory);
  await actEnrol(stage, narrator, memory);
  await actIdentity(stage, narrator);
  await actPolicy(stage, narrator);
  await actMeasure(stage, narrator, memory);
  if (waypoint) await actWaypoint(stage, narrator);
  await actLeave(stage, narrator);
  await unharmed(stage);
}

function invite(name: string): void {
  const culvert = 'bin/culvert local';
  console.log(
    [
      '',
      `The cluster '${name}' goes on. Try:`,
      `  ${culvert} status --name ${name}`,
      `  ${culvert} label bookinfo istio.io/dataplane-mode=ambient --name ${name}`,
      `  ${culvert} exec deploy/shopper --name ${name} -- curl -s http://productpage:9080/api/v1/products/0`,
      `  ${culvert} apply -f examples/bookinfo/deny-ratings.yaml --name ${name}`,
      `  ${culvert} exec deploy/ratings --name ${name} -- curl -sv http://details:9080/details/0`,
      `  ${culvert} logs ztunnel/node2 --name ${name}`,
      `and at the end: ${culvert} down ${name}`,
    ].join('\n'),
  );
}

function seconds(sinceMs: number): string {
  return ((performance.now() - sinceMs) / 1_000).toFixed(1);
}

const options = new Command('demo')
  .description('show the mesh, act by act')
  .option('--keep', 'leave the cluster running at the end', false)
  .option('--waypoint', 'also add a waypoint, and remove it again', false)
  .option('--name <cluster>', 'name of the cluster', 'demo')
  .option('--redirect <backend>', 'how pods are captured', 'auto')
  .parse()
  .opts<DemoOptions>();

let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupted) process.exit(130);
    interrupted = true;
    console.log('\ninterrupted: removing the cluster');
    takeDown(options.name, DEFAULT_ROOT).finally(() => process.exit(130));
  });
}
try {
  await run(options);
} catch (error) {
  if (!interrupted) {
    console.error(`\nThe demo failed: ${errorMessage(error)}`);
    process.exitCode = 1;
    if (options.keep) console.error(`The cluster '${options.name}' was kept.`);
    else await takeDown(options.name, DEFAULT_ROOT);
  }
}
