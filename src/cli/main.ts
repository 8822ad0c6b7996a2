/**
 * The `culvert` command. Each program is loaded only when it is asked for, so that the tunnel never loads the
 * controller's libraries.
 */
import { enableCompileCache, flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { errorMessage } from '../core/errors.ts';

// Compiled code beside the packages, not in a folder that others may write to: half of a program's start is compiling.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/culvert', import.meta.url)));

type Run = (env: NodeJS.ProcessEnv, signal: AbortSignal) => Promise<number>;

/** SIGTERM and the first SIGINT ask for an orderly end; a second SIGINT ends at once. */
function shutdownSignal(): AbortSignal {
  const controller = new AbortController();
  let interrupts = 0;
  process.on('SIGTERM', () => controller.abort());
  process.on('SIGINT', () => {
    interrupts += 1;
    if (interrupts > 1) process.exit(130);
    controller.abort();
  });
  return controller.signal;
}

async function runProgram(load: () => Promise<Run>): Promise<void> {
  const run = await load();
  flushCompileCache(); // a program that is killed would never write it
  process.exitCode = await run(process.env, shutdownSignal());
}

const VERSION = '0.1.0';
const program = new Command('culvert').description('A node-level ambient service mesh').version(VERSION);
program
  .command('ztunnel')
  .description('run the node tunnel; configured by its environment')
  .action(() => runProgram(async () => (await import('./ztunnel.ts')).runZtunnel));
program
  .command('waypoint')
  .description('run a replica of a waypoint; configured by its environment')
  .option('--worker', 'one of several workers of the process that started it')
  .action(({ worker }: { worker?: boolean }) =>
    runProgram(async () => {
      const { runWaypoint, runWaypointWorker } = await import('./waypoint.ts');
      return worker ? runWaypointWorker : runWaypoint;
    }),
  );
program
  .command('cni')
  .description('run the node agent; configured by its environment')
  .action(() => runProgram(async () => (await import('./cni.ts')).runCni));
program
  .command('controller')
  .description('run the control plane; configured by its environment')
  .action(() => runProgram(async () => (await import('./controller.ts')).runController));
program
  .command('node-check', { hidden: true })
  .description('look at this node; run by check')
  .action(() => runProgram(async () => (await import('./node-check.ts')).runNodeCheck));
const asked = process.argv[2] ?? 'help';
const isHelp = ['help', '--help', '-h'].includes(asked);
if (isHelp || ['install', 'upgrade', 'uninstall', 'check'].includes(asked)) {
  for (const command of (await import('./install.ts')).installCommands(VERSION)) program.addCommand(command);
  program.addCommand((await import('./check.ts')).checkCommand(VERSION));
}
if (isHelp || asked === 'local') {
  program.addCommand((await import('./local.ts')).localCommand());
}

try {
  await program.parseAsync();
} catch (error) {
  console.error(`culvert: ${errorMessage(error)}`);
  process.exitCode = 1;
}
