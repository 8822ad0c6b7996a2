/** `culvert local`: a mesh of real processes in network namespaces on this machine. */
import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MeshError } from '../core/errors.ts';
import {
  DEFAULT_ROOT,
  entryArgs,
  findState,
  getPlan,
  holdFile,
  isSupervised,
  labelObject,
  listClusters,
  readManifests,
  removeObjects,
  type StoredObject,
  storeObjects,
} from '../local/index.ts';
import { bringUp, checkMachine, supervise, takeDown } from './local-cluster.ts';
import { clusterPods, findPod, podEntry } from './local-pods.ts';
import { printStatus } from './local-status.ts';

const DEFAULT_NAME = 'culvert';

interface Common {
  readonly name: string;
  readonly stateDir: string;
}

/** The command with its subcommands. Each rejects with a MeshError that the caller prints. */
export function localCommand(): Command {
  const local = new Command('local').description('run a mesh in network namespaces on this machine');
  local.addCommand(upCommand());
  local.addCommand(superviseCommand(), { hidden: true });
  local
    .command('down')
    .description('end a cluster and remove everything of it')
    .argument('[name]', 'cluster', DEFAULT_NAME)
    .addOption(stateDirOption())
    .action(async (name: string, { stateDir }: Common) => {
      await takeDown(name, stateDir);
      console.log(`cluster '${name}' is gone`);
    });
  local
    .command('list')
    .description('show the clusters of this machine')
    .addOption(stateDirOption())
    .action(({ stateDir }: Common) => printClusters(stateDir));
  for (const command of [
    applyCommand(),
    deleteCommand(),
    labelCommand(),
    execCommand(),
    stopCommand(),
    startCommand(),
    statusCommand(),
    logsCommand(),
  ]) {
    local.addCommand(command.addOption(nameOption()).addOption(stateDirOption()));
  }
  return local;
}

function upCommand(): Command {
  return clusterOptions(new Command('up'))
    .description('make a cluster and return when it is ready; it goes on in the background')
    .action(async (name: string, options: ClusterFlags) => {
      const startedMs = performance.now();
      await bringUp({ ...options, name, root: options.stateDir });
      const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
      const flag = name === DEFAULT_NAME ? '' : ` --name ${name}`;
      console.log(`cluster '${name}' is ready after ${seconds} s: ${options.nodes} nodes`);
      console.log(`try: culvert local status${flag}`);
    });
}

/** The background process of `up`; also of use under another supervisor, since it stays in the foreground. */
function superviseCommand(): Command {
  return clusterOptions(new Command('supervise'))
    .option('--tied', 'end when standard input ends')
    .description('run a cluster in the foreground until a signal comes, then remove it')
    .action(async (name: string, options: ClusterFlags & { tied?: boolean }) => {
      const controller = new AbortController();
      if (options.tied) process.stdin.on('end', () => controller.abort()).resume();
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort());
      await supervise({ ...options, name, root: options.stateDir }, process.env, controller.signal);
      process.stdin.destroy();
    });
}

interface ClusterFlags {
  readonly stateDir: string;
  readonly nodes: number;
  readonly mesh: boolean;
  readonly redirect: string;
}

function clusterOptions(command: Command): Command {
  return command
    .argument('[name]', 'cluster', DEFAULT_NAME)
    .addOption(stateDirOption())
    .addOption(new Option('--nodes <n>', 'number of nodes').default(2).argParser(parseCount))
    .addOption(
      new Option('--redirect <backend>', 'how pods are captured')
        .choices(['auto', 'ebpf', 'nftables', 'iptables'])
        .default('auto'),
    )
    .option('--no-mesh', 'pods and services only');
}

function applyCommand(): Command {
  return new Command('apply')
    .description('put manifests into the cluster')
    .requiredOption('-f, --filename <file...>', 'YAML or JSON files')
    .option('-n, --namespace <namespace>', 'for objects that name none', 'default')
    .action(async ({ name, stateDir, filename, namespace }: Common & { filename: string[]; namespace: string }) => {
      const { resourceDir } = await getPlan(name, stateDir);
      for (const file of filename) printStored(await storeObjects(resourceDir, await readManifests(file, namespace)));
    });
}

function deleteCommand(): Command {
  return new Command('delete')
    .description('remove what manifests put into the cluster')
    .requiredOption('-f, --filename <file...>', 'YAML or JSON files')
    .option('-n, --namespace <namespace>', 'for objects that name none', 'default')
    .action(async ({ name, stateDir, filename, namespace }: Common & { filename: string[]; namespace: string }) => {
      const { resourceDir } = await getPlan(name, stateDir);
      for (const file of filename) printStored(await removeObjects(resourceDir, await readManifests(file, namespace)));
    });
}

function labelCommand(): Command {
  return new Command('label')
    .description('set or remove labels of a namespace: culvert local label shop istio.io/dataplane-mode=ambient')
    .argument('<namespace>')
    .argument('<label...>', 'key=value sets, key- removes')
    .action(async (namespace: string, labels: string[], { name, stateDir }: Common) => {
      const { resourceDir } = await getPlan(name, stateDir);
      const target = { apiVersion: 'v1', kind: 'Namespace', name: namespace };
      await labelObject(resourceDir, target, Object.fromEntries(labels.map(parseLabel)));
      console.log(`namespace ${namespace} labeled`);
    });
}

function execCommand(): Command {
  return new Command('exec')
    .description('run a command inside a pod: culvert local exec deploy/productpage -- curl -s http://details:9080/')
    .argument('<pod>', 'name, start of a name, or deploy/<name>')
    .argument('<command...>')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .action(async (pod: string, command: string[], options: Common & { namespace?: string }) => {
      checkMachine();
      const plan = await getPlan(options.name, options.stateDir);
      const found = await findPod(plan, pod, options.namespace);
      const entry = await podEntry(plan, found, command);
      await writeFile(entry.resolvConf, entry.resolvConfText);
      process.exitCode = await inherit('nsenter', entryArgs(entry));
    });
}

function stopCommand(): Command {
  return new Command('stop')
    .description('kill a component and keep it down: controller, ztunnel/node1, cni/node2')
    .argument('<component>')
    .action(async (component: string, { name, stateDir }: Common) => {
      const plan = await getPlan(name, stateDir);
      const found = (await findState(plan.stateDir))?.components.find((candidate) => candidate.name === component);
      if (!found) throw new MeshError('ERR_NOT_FOUND', `no component '${component}'; see: culvert local status`);
      await writeFile(holdFile(plan, component), '');
      if (found.pid !== undefined) process.kill(found.pid, 'SIGKILL');
      console.log(`${component} is down until: culvert local start ${component}`);
    });
}

function startCommand(): Command {
  return new Command('start')
    .description('let a component that was stopped run again')
    .argument('<component>')
    .action(async (component: string, { name, stateDir }: Common) => {
      await rm(holdFile(await getPlan(name, stateDir), component), { force: true });
      console.log(`${component} runs again`);
    });
}

function statusCommand(): Command {
  return new Command('status')
    .description('show nodes, components and pods')
    .action(async ({ name, stateDir }: Common) => {
      const plan = await getPlan(name, stateDir);
      const state = await findState(plan.stateDir);
      if (!state) throw new MeshError('ERR_NOT_FOUND', `there is no cluster '${name}'`);
      printStatus({ plan, state, supervised: await isSupervised(state), ...(await clusterPods(plan)) });
    });
}

function logsCommand(): Command {
  return new Command('logs')
    .description('show the log of a pod, or of a component: ztunnel/node1, cni/node2, controller, supervisor')
    .argument('<pod|component>')
    .option('-n, --namespace <namespace>', 'namespace of the pod')
    .option('-f, --follow', 'go on as it grows')
    .action(async (what: string, options: Common & { namespace?: string; follow?: boolean }) => {
      const plan = await getPlan(options.name, options.stateDir);
      const files = await logFiles(plan.logDir, what, async () => await findPod(plan, what, options.namespace));
      process.exitCode = await inherit('tail', ['-n', '+1', ...(options.follow ? ['-F'] : []), ...files]);
    });
}

async function logFiles(logDir: string, what: string, find: () => ReturnType<typeof findPod>): Promise<string[]> {
  if (what === 'supervisor' || what === 'controller') return [join(logDir, `${what}.log`)];
  const [component, node] = what.split('/');
  if (component === 'ztunnel' || component === 'cni') return [join(logDir, `${component}-${node}.log`)];
  const { metadata, spec } = await find();
  return (spec?.containers ?? []).map((container) =>
    join(logDir, 'pods', `${metadata.namespace}_${metadata.name}_${container.name}.log`),
  );
}

async function inherit(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, [...args], { stdio: 'inherit' });
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 128));
  });
}

function printStored(objects: readonly StoredObject[]): void {
  for (const { kind, namespace, name, change } of objects) {
    console.log(`${kind.toLowerCase()} ${namespace === '' ? name : `${namespace}/${name}`} ${change}`);
  }
}

async function printClusters(root: string): Promise<void> {
  for (const name of await listClusters(root)) {
    const state = await findState(join(root, name));
    if (!state) continue;
    const phase = (await isSupervised(state)) ? state.phase : 'left behind: end it with culvert local down';
    console.log(`${name}  ${state.nodeCount} nodes  ${phase}`);
  }
}

function nameOption(): Option {
  return new Option('--name <cluster>', 'cluster').default(DEFAULT_NAME);
}

function stateDirOption(): Option {
  return new Option('--state-dir <folder>', 'where clusters are kept').default(DEFAULT_ROOT).env('CULVERT_STATE_DIR');
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('expected a whole number above 0');
  return count;
}

function parseLabel(text: string): readonly [string, string | undefined] {
  if (text.endsWith('-')) return [text.slice(0, -1), undefined];
  const [key, value] = text.split('=', 2);
  if (!key || value === undefined) throw new MeshError('ERR_CONFIG', `'${text}' is no label: use key=value or key-`);
  return [key, value];
}
