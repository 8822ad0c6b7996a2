/** `culvert install`, `upgrade` and `uninstall`: a mesh in a real cluster. */
import { Command, Option } from 'commander';
import { asDurationMs } from '../core/config-reader.ts';
import { MeshError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import {
  install,
  namespaceObject,
  type Progress,
  renderObjects,
  USUAL_GROUPS,
  uninstall,
  yamlDocuments,
} from '../install/index.ts';
import { type ClusterFlags, openCluster, withClusterOptions, withProgress } from './cluster-command.ts';
import { readValues, type ValueFlags, withValueOptions } from './install-values.ts';

interface InstallFlags extends ClusterFlags, ValueFlags {
  readonly dryRun: boolean;
  readonly skipCrds: boolean;
  readonly wait: boolean;
  readonly output?: 'yaml';
}

interface UninstallFlags extends ClusterFlags {
  readonly dryRun: boolean;
  readonly purge: boolean;
}

/** `version` is that of the program, and of the images unless told otherwise. */
export function installCommands(version: string): readonly Command[] {
  const apply = (name: string, description: string, done: string) =>
    withDryRun(withValueOptions(withClusterOptions(new Command(name).description(description))))
      .option('--skip-crds', "leave out the definitions of Istio's kinds", false)
      .option('--no-wait', 'do not wait until everything runs')
      .addOption(new Option('-o, --output <format>', 'with --dry-run: print what would be applied').choices(['yaml']))
      .action((flags: InstallFlags) => runInstall(flags, { version, done }));
  return [
    apply('install', 'install the mesh into a cluster', 'installed'),
    apply('upgrade', 'bring an installed mesh to this version, or to other values', 'upgraded'),
    withDryRun(withClusterOptions(new Command('uninstall').description('take the mesh off a cluster')))
      .option('--purge', 'also policies with their definitions, the certificate authority and the namespace', false)
      .action(runUninstall),
  ];
}

function withDryRun(command: Command): Command {
  return command.option('--dry-run', 'ask the API server, change nothing', false);
}

async function runInstall(flags: InstallFlags, { version, done }: { version: string; done: string }): Promise<void> {
  const set = flags.skipCrds ? [...flags.set, 'crds.enabled=false'] : flags.set;
  const { values, namespace, warnings } = await readValues({ ...flags, set }, version);
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
  const { namespace, dryRun, purge } = flags;
  await withProgress('Culvert', async (progress, signal) => {
    const options = { ...(await operation(flags, progress, signal)), namespace, dryRun, purge };
    const { removed, kept } = await uninstall(options.cluster, options);
    if (kept.length > 0) progress.note(`kept (--purge removes them): ${kept.join(', ')}`);
    return `${dryRun ? 'would be removed' : 'removed'}: ${removed.length} objects`;
  });
}

async function operation({ kubeconfig, timeout }: ClusterFlags, progress: Progress, signal: AbortSignal) {
  const cluster = await openCluster(kubeconfig);
  progress.step(`talking to Kubernetes ${await cluster.version()}`);
  return { cluster, clock: systemClock, timeoutMs: asDurationMs(timeout), progress, signal };
}
