/** `culvert check`: is the cluster ready for the mesh, is the mesh well? Ends with 1 when something keeps it from working. */
import { Command } from 'commander';
import { asDurationMs } from '../core/config-reader.ts';
import { systemClock } from '../core/system-clock.ts';
import { checkBefore, checkInstalled, type Finding } from '../install/index.ts';
import { type ClusterFlags, openCluster, withClusterOptions, withProgress } from './cluster-command.ts';
import { readValues, type ValueFlags, withValueOptions } from './install-values.ts';

type CheckFlags = ClusterFlags & ValueFlags & { readonly pre: boolean; readonly nodes: boolean };

const MARKS: Readonly<Record<Finding['level'], string>> = {
  ok: 'ok     ',
  info: 'info   ',
  warning: 'warning',
  error: 'ERROR  ',
};

export function checkCommand(version: string): Command {
  return withValueOptions(withClusterOptions(new Command('check').description('check a cluster, or the mesh in it')))
    .option('--pre', 'before an installation', false)
    .option('--no-nodes', 'with --pre: do not run a pod on every node')
    .action((flags: CheckFlags) => runCheck(flags, version));
}

async function runCheck(flags: CheckFlags, version: string): Promise<void> {
  const { values, namespace, warnings } = await readValues(flags, version);
  for (const text of warnings) console.error(`warning: ${text}`);
  let findings: readonly Finding[] = [];
  await withProgress('Culvert', async (progress, signal) => {
    const cluster = await openCluster(flags.kubeconfig);
    const wait = { clock: systemClock, timeoutMs: asDurationMs(flags.timeout), progress, signal };
    const options = { ...wait, values, namespace, askNodes: flags.nodes };
    findings = await (flags.pre ? checkBefore : checkInstalled)(cluster, options);
    return flags.pre ? 'looked at the cluster' : `looked at ${namespace}`;
  });
  for (const { level, what, fix } of findings) {
    console.log(`${MARKS[level]}  ${what}`);
    if (fix !== undefined) console.log(`         ${fix}`);
  }
  const errors = findings.filter(({ level }) => level === 'error').length;
  if (errors > 0) process.exitCode = 1;
  const next = flags.pre ? 'the mesh can be installed: culvert install' : 'the mesh is well';
  console.log(errors > 0 ? `${errors} things keep the mesh from working` : next);
}
