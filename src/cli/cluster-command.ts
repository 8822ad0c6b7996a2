/** What the commands share that work on a cluster: how it is reached, and a line that tells where the work is. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import ora from 'ora';
import { Cluster, type Progress } from '../install/index.ts';
import { ApiClient, openTransport } from '../kube/index.ts';

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly timeout: string;
}

const DEFAULT_NAMESPACE = 'istio-system';

export function withClusterOptions(command: Command): Command {
  return command
    .option('--kubeconfig <file>', 'how to reach the cluster; default: KUBECONFIG, else ~/.kube/config')
    .option('-n, --namespace <name>', 'namespace of the mesh', DEFAULT_NAMESPACE)
    .option('--timeout <duration>', 'how long to wait for each step', '5m');
}

/** The cluster that the flag, KUBECONFIG or the usual file leads to. Rejects with ERR_CONFIG. */
export async function openCluster(kubeconfig: string | undefined): Promise<Cluster> {
  const file = kubeconfig ?? process.env.KUBECONFIG ?? join(homedir(), '.kube/config');
  return new Cluster(new ApiClient(await openTransport({ kind: 'kubeconfig', file })));
}

/** Runs `work` with a line that tells where it is; its answer is the last line. */
export async function withProgress(
  title: string,
  work: (progress: Progress, signal: AbortSignal) => Promise<string>,
): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const isTerminal = process.stderr.isTTY === true;
  const spinner = ora({ text: title, stream: process.stderr, discardStdin: false, isEnabled: isTerminal });
  if (isTerminal) spinner.start();
  let last = '';
  const progress: Progress = {
    step(text) {
      if (text === last) return;
      last = text;
      if (isTerminal) spinner.text = text;
      else if (!/^(applying|removing) /.test(text)) console.error(`  ${text}`);
    },
    note(text) {
      if (isTerminal) spinner.stopAndPersist({ symbol: ' ', text }).start(last);
      else console.error(`  ${text}`);
    },
  };
  try {
    const result = `${title} ${await work(progress, stop.signal)}`;
    if (isTerminal) spinner.succeed(result);
    else console.error(result);
  } catch (error) {
    if (isTerminal) spinner.fail(title);
    throw error;
  }
}
