/**
 * Where a program reads and writes Kubernetes objects: a directory when RESOURCE_DIR names one, else the API server that
 * KUBECONFIG leads to, else the one of the cluster the program runs in.
 */
import type { ConfigReader, Env } from '../core/config-reader.ts';
import { asString } from '../core/config-reader.ts';
import type { Logger } from '../core/logger.ts';
import { systemClock } from '../core/system-clock.ts';
import type {
  ClientWriter,
  ClusterLocation,
  ClusterSigner,
  DaemonSetReader,
  KubeObject,
  KubeSource,
  KubeWriter,
  ManifestProblem,
  TokenReviewer,
} from '../kube/index.ts';

export type ProviderConfig =
  | { readonly kind: 'directory'; readonly directory: string }
  | { readonly kind: 'cluster'; readonly location: ClusterLocation };

export interface KubeProvider extends AsyncDisposable {
  readonly source: KubeSource;
  readonly writer: KubeWriter;
  applyObject(object: KubeObject): Promise<void>;
  problems(): readonly ManifestProblem[];
  /** What only an API server can do. */
  readonly cluster:
    | {
        readonly objects: ClientWriter;
        readonly review: TokenReviewer;
        readonly sign: ClusterSigner;
        readonly readDaemonSet: DaemonSetReader;
      }
    | undefined;
}

export interface ProviderOptions {
  /** Name of the writer. */
  readonly manager: string;
  /** Condition types that only this program writes. */
  readonly ownConditions: readonly string[];
  readonly log: Logger;
}

const ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** What is missing is a problem of `read`. */
export function readProviderConfig(read: ConfigReader, env: Env): ProviderConfig {
  const directory = read.optional('RESOURCE_DIR', asString, '');
  if (directory !== '') return { kind: 'directory', directory };
  const file = read.optional('KUBECONFIG', asString, '');
  if (file !== '') return { kind: 'cluster', location: { kind: 'kubeconfig', file } };
  const host = env.KUBERNETES_SERVICE_HOST ?? '';
  if (host === '') read.problem('RESOURCE_DIR is not set, KUBECONFIG neither, and this is not a pod of a cluster');
  const port = env.KUBERNETES_SERVICE_PORT || '443';
  return { kind: 'cluster', location: { kind: 'in-cluster', host, port, accountDir: ACCOUNT_DIR } };
}

/** Rejects with ERR_SYSTEM or ERR_CONFIG. The caller disposes the provider. */
export async function openProvider(
  config: ProviderConfig,
  { manager, ownConditions, log }: ProviderOptions,
): Promise<KubeProvider> {
  if (config.kind === 'directory') {
    const { FileSource, FileWriter } = await import('../kube/file/index.ts');
    const source = await FileSource.open({ directory: config.directory, log });
    const writer = new FileWriter({ source, manager });
    return {
      ...{ source, writer, cluster: undefined },
      applyObject: (object) => writer.applyObject(object),
      problems: () => source.problems(),
      [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
    };
  }
  const { ApiClient, ClientSource, ClientWriter, clusterSigner, daemonSetReader, openTransport, tokenReviewer } =
    await import('../kube/client/index.ts');
  const api = new ApiClient(await openTransport(config.location));
  const source = new ClientSource({ api, clock: systemClock, log });
  const writer = new ClientWriter({ api, manager, ownConditions });
  return {
    ...{
      source,
      writer,
      cluster: {
        ...{ objects: writer, review: tokenReviewer(api), sign: clusterSigner(api, systemClock) },
        readDaemonSet: daemonSetReader(api),
      },
    },
    applyObject: (object) => writer.applyObject(object),
    problems: () => source.problems(),
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}
