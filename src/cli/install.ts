/** `culvert install`, `upgrade` and `uninstall`: a mesh in a real cluster. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import ora from 'ora';
import { parse } from 'yaml';
import { asDurationMs } from '../core/config-reader.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import {
  Cluster,
  type InstallValues,
  install,
  mergeValues,
  namespaceObject,
  type Progress,
  parseValues,
  readInstallFile,
  renderObjects,
  USUAL_GROUPS,
  uninstall,
  yamlDocuments,
} from '../install/index.ts';
import { ApiClient, openTransport } from '../kube/index.ts';

interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly timeout: string;
  readonly dryRun: boolean;
}

interface InstallFlags extends ClusterFlags {
  readonly filename: readonly string[];
  readonly set: readonly string[];
  readonly hub?: string;
  readonly tag?: string;
  readonly skipCrds: boolean;
  readonly wait: boolean;
  readonly output?: 'yaml';
}

interface UninstallFlags extends ClusterFlags {
  readonly purge: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];
const DEFAULT_NAMESPACE = 'istio-system';

/** `version` is that of the program, and of the images unless told otherwise. */
export function installCommands(version: string): readonly Command[] {
  const apply = (name: string, description: string, done: string) =>
    withClusterOptions(new Command(name).description(description))
      .option('-f, --filename <file>', 'values, or an IstioOperator; may be repeated', collect, [])
      .option('--set <path=value>', 'one value; may be repeated', collect, [])
      .option('--hub <hub>', 'registry and folder of the images')
      .option('--tag <tag>', 'version of the images')
      .option('--skip-crds', "leave out the definitions of Istio's kinds", false)
      .option('--no-wait', 'do not wait until everything runs')
      .addOption(new Option('-o, --output <format>', 'with --dry-run: print what would be applied').choices(['yaml']))
      .action((flags: InstallFlags) => runInstall(flags, { version, done }));
  return [
    apply('install', 'install the mesh into a cluster', 'installed'),
    apply('upgrade', 'bring an installed mesh to this version, or to other values', 'upgraded'),
    withClusterOptions(new Command('uninstall').description('take the mesh off a cluster'))
      .option('--purge', 'also policies with their definitions, the certificate authority and the namespace', false)
      .action(runUninstall),
  ];
}

function withClusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'how to reach the cluster; default: KUBECONFIG, else ~/.kube/config')
    .option('-n, --namespace <name>', 'namespace of the mesh', DEFAULT_NAMESPACE)
    .option('--timeout <duration>', 'how long to wait for each step', '5m')
    .option('--dry-run', 'ask the API server, change nothing', false);
}

async function runInstall(flags: InstallFlags, { version, done }: { version: string; done: string }): Promise<void> {
  const { values, namespace, warnings } = await readValues(flags, version);
  for (const warning of warnings) console.error(`warning: ${warning}`);
  if (flags.output === 'yaml') {
    if (!flags.dryRun) throw new MeshError('ERR_CONFIG', '-o yaml goes with --dry-run');
    const options = { values, namespace, served: USUAL_GROUPS };
    process.stdout.write(yamlDocuments([namespaceObject(options), ...renderObjects(options)]));
    return;
  }
  const { dryRun, wait } = flags;
  await withProgress(`Culvert ${values.global.tag}`, async (progress, signal) => {
    const options = { ...(await operation(flags, progress, signal)), values, namespace, dryRun, wait };
    const counts = await install(options.cluster, options);
    const changes = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
    return `${dryRun ? 'would be ' : ''}${done} in ${namespace}: ${changes.join(', ')}`;
  });
}

async function runUninstall(flags: UninstallFlags): Promise<void> {
  await withProgress('Culvert', async (progress, signal) => {
    const options = { ...(await operation(flags, progress, signal)), ...flags, signal };
    const { removed, kept } = await uninstall(options.cluster, options);
    if (kept.length > 0) progress.note(`kept (--purge removes them): ${kept.join(', ')}`);
    return `${flags.dryRun ? 'would be removed' : 'removed'}: ${removed.length} objects`;
  });
}

async function readValues(flags: InstallFlags, version: string) {
  let given: unknown = {};
  let namespace = flags.namespace;
  const warnings: string[] = [];
  for (const file of flags.filename) {
    const text = await readFile(file, 'utf8').catch((cause) => {
      throw new MeshError('ERR_CONFIG', `${file} cannot be read: ${errorMessage(cause)}`, { cause });
    });
    const read = readInstallFile(text, file);
    given = mergeValues(given, read.values);
    namespace = read.namespace ?? namespace;
    warnings.push(...read.warnings);
  }
  for (const setting of flags.set) given = mergeValues(given, parseSetting(setting));
  const { hub, tag } = flags;
  given = mergeValues(given, { global: { ...(hub ? { hub } : {}), ...(tag ? { tag } : {}) } });
  if (flags.skipCrds) given = mergeValues(given, { crds: { enabled: false } });
  const values: InstallValues = parseValues(given, version);
  return { values, namespace, warnings };
}

/** `a.b=3` as a tree; the value is YAML. */
function parseSetting(text: string): unknown {
  const at = text.indexOf('=');
  if (at < 1) throw new MeshError('ERR_CONFIG', `--set ${text}: expected path=value`);
  const steps = text.slice(0, at).split('.').reverse();
  return steps.reduce<unknown>((inner, step) => ({ [step]: inner }), parse(text.slice(at + 1)));
}

async function operation({ kubeconfig, timeout }: ClusterFlags, progress: Progress, signal: AbortSignal) {
  const cluster = await openCluster(kubeconfig);
  progress.step(`talking to Kubernetes ${await cluster.version()}`);
  return { cluster, clock: systemClock, timeoutMs: asDurationMs(timeout), progress, signal };
}

/** The cluster that the flag, KUBECONFIG or the usual file leads to. Rejects with ERR_CONFIG. */
export async function openCluster(kubeconfig: string | undefined): Promise<Cluster> {
  const file = kubeconfig ?? process.env.KUBECONFIG ?? join(homedir(), '.kube/config');
  return new Cluster(new ApiClient(await openTransport({ kind: 'kubeconfig', file })));
}

/** Runs `work` with a line that tells where it is; its answer is the last line. */
async function withProgress(
  title: string,
  work: (progress: Progress, signal: AbortSignal) => Promise<string>,
): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const spinner = ora({ text: title, stream: process.stderr, discardStdin: false }).start();
  let last = '';
  const progress: Progress = {
    step(text) {
      if (text === last) return;
      last = text;
      if (spinner.isEnabled) spinner.text = text;
      else if (!text.startsWith('applying ') && !text.startsWith('removing ')) console.error(`  ${text}`);
    },
    note(text) {
      if (spinner.isEnabled) spinner.stopAndPersist({ symbol: ' ', text }).start(last);
      else console.error(`  ${text}`);
    },
  };
  try {
    spinner.succeed(`${title} ${await work(progress, stop.signal)}`);
  } catch (error) {
    spinner.fail(title);
    throw error;
  }
}
