/**
 * The control plane: watches resources, serves discovery and certificates over TLS, writes statuses.
 *
 * Order of start: certificate authority, resources (all of them), first translation, then the port opens. A subscriber
 * therefore never sees a part of the mesh as if it were all of it.
 */
import type { Clock } from '../core/clock.ts';
import { createGrpcServer, startGrpcServer } from '../core/grpc-server.ts';
import { serveHttp, textAnswer } from '../core/http-listener.ts';
import type { Logger } from '../core/logger.ts';
import { serveMetrics } from '../core/metrics-server.ts';
import type { KubeObject, KubeSource, KubeWriter, ManifestProblem } from '../kube/index.ts';
import type { Authenticator } from '../model/caller.ts';
import { addSigningService, type CaKeeper, CertificateAuthority } from '../pki/index.ts';
import { addDiscoveryService, ResourceStore } from '../xds/index.ts';
import { mayServeGateway } from './auth/gateway-authorizer.ts';
import { podNodeAuthorizer } from './auth/node-authorizer.ts';
import { ClusterAuthority } from './ca/cluster-authority.ts';
import { AuthorityWatch, type ControlPlaneAuthority } from './ca/control-plane-authority.ts';
import { RootDistribution, writeRootFile } from './ca/root-distribution.ts';
import { ServerIdentity } from './ca/server-identity.ts';
import { controllerMetrics } from './controller-metrics.ts';
import { debugAnswer } from './debug-pages.ts';
import type { Leadership } from './leader/leader-election.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { ResourceWatch } from './resource-watch.ts';
import type { Pod } from './resources.ts';
import { PeerReports } from './status/peer-reports.ts';
import { StatusWriter } from './status/status-writer.ts';
import { TranslationLoop } from './translation-loop.ts';

export interface ControllerOptions {
  readonly settings: MeshSettings;
  /** Where to write the root certificates besides. */
  readonly rootCertFile: string | undefined;
  /** Key material of the operator in the layout of `cacerts`; used when there is any. */
  readonly pluggedCaDir: string | undefined;
  /** The operator's set may come with more, or fewer, roots while the program runs. */
  readonly multiRoot: boolean;
  readonly host: string;
  /** 0: any free port. */
  readonly ports: { readonly xds: number; readonly metrics: number; readonly ready: number };
  /** Names and addresses of the serving certificate beside the standard ones. */
  readonly serverNames: readonly string[];
  readonly serverIps: readonly string[];
  /** Of this replica. */
  readonly podName: string;
  /** `namespace/account` of the node tunnels. */
  readonly trustedNodeAccounts: ReadonlySet<string>;
}

export interface ControllerDeps {
  readonly source: KubeSource;
  readonly writer: KubeWriter;
  /** Creates or replaces an object of the control plane's own making. */
  readonly applyObject: (object: KubeObject) => Promise<void>;
  readonly problems: () => readonly ManifestProblem[];
  readonly authenticator: Authenticator;
  /** The authority, or what keeps its own: a folder, or another keeper. */
  readonly authority: string | CaKeeper | ClusterAuthority;
  /** Whether this replica writes. */
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface RunningController extends AsyncDisposable {
  readonly ports: ControllerOptions['ports'];
}

/** Resolves when everything is served. Rejects with ERR_CONFIG or ERR_SYSTEM; then nothing is left running. */
export async function startController(options: ControllerOptions, deps: ControllerDeps): Promise<RunningController> {
  const { clock, log, source, leadership } = deps;
  const { settings, rootCertFile, host } = options;
  const stack = new AsyncDisposableStack();
  try {
    const authority = await openAuthority(options, deps);
    const writeRoots = async () => {
      if (rootCertFile !== undefined) await writeRootFile(rootCertFile, authority.rootsPem);
    };
    await writeRoots();

    const watch = stack.use(new ResourceWatch(source));
    const store = await ResourceStore.create();
    const server = createGrpcServer();
    const metrics = controllerMetrics({
      subscribers: () => discovery.subscribers().length,
      problems: () => deps.problems().length,
      rootNotAfterMs: () => authority.notAfterMs,
    });
    const discovery = addDiscoveryService(server, {
      store,
      authenticator: deps.authenticator,
      clock,
      log: log.child('xds'),
      mayServeGateway: (caller, gateway) =>
        mayServeGateway(watch.informer({ group: '', kind: 'Pod' }), caller, gateway),
      onPush: metrics.pushed,
      onNack: metrics.nacked,
    });
    addSigningService(server, {
      authority,
      authenticator: deps.authenticator,
      nodes: podNodeAuthorizer(watch.informer({ group: '', kind: 'Pod' }), settings.trustDomain),
      trustedNodeAccounts: options.trustedNodeAccounts,
      log: log.child('ca'),
      onCall: metrics.signed,
    });
    const statuses = stack.use(
      new StatusWriter({
        writer: deps.writer,
        find: (kind, key) => watch.find(kind, key),
        leadership,
        clock,
        log: log.child('status'),
      }),
    );
    await watch.synced();
    const peers = stack.use(
      new PeerReports({
        ...{ clock, log: log.child('status'), namespace: settings.rootNamespace },
        ...{ pods: watch.informer<Pod>({ group: '', kind: 'Pod' }), self: options.podName, port: options.ports.ready },
      }),
    );
    const loop = stack.use(
      new TranslationLoop({
        watch,
        store,
        settings,
        statuses,
        discovery,
        peers,
        clock,
        log,
        onPass: metrics.translated,
      }),
    );
    loop.run();
    watch.onChange(() => loop.run());

    const roots = stack.use(
      await RootDistribution.start({
        ...{ source, authority, leadership, clock },
        apply: deps.applyObject,
        log: log.child('ca'),
      }),
    );
    const identity = stack.use(
      await ServerIdentity.open({
        ...{ authority, clock, log: log.child('ca') },
        dnsNames: [...new Set(serviceNames(settings.rootNamespace)), 'localhost', ...options.serverNames],
        ips: ['127.0.0.1', '::1', ...options.serverIps],
      }),
    );
    const onAuthorityChange = () => {
      roots.publish();
      const failed = (error: unknown) => log.error('root certificates not written', { error: String(error) });
      writeRoots().catch(failed);
      identity.renew().catch(failed);
    };
    const plugged = authority instanceof CertificateAuthority ? authority : undefined;
    stack.use(new AuthorityWatch(authority, { clock, log: log.child('ca'), onChange: onAuthorityChange }, plugged));
    const xds = stack.use(await startGrpcServer(server, { host, port: options.ports.xds, ...identity.pair }));
    identity.onChange((pair) => xds.replacePair(pair));
    const metricsListener = stack.use(await serveMetrics({ host, port: options.ports.metrics }, metrics.registry));
    const ready = stack.use(
      await serveHttp({ host, port: options.ports.ready }, ({ path }) => {
        if (path === '/ready') return textAnswer(200, 'ready\n');
        return debugAnswer(path, { loop, discovery, problems: deps.problems });
      }),
    );
    const ports = { xds: xds.port, metrics: metricsListener.port, ready: ready.port };
    log.info('controller ready', { ...ports, cluster: settings.clusterId, trustDomain: settings.trustDomain });
    const owned = stack.move();
    return { ports, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function openAuthority(options: ControllerOptions, deps: ControllerDeps): Promise<ControlPlaneAuthority> {
  if (deps.authority instanceof ClusterAuthority) return deps.authority;
  return CertificateAuthority.open({
    folder: deps.authority,
    ...(options.pluggedCaDir === undefined ? {} : { pluggedFolder: options.pluggedCaDir }),
    ...{ trustDomain: options.settings.trustDomain, multiRoot: options.multiRoot, clock: deps.clock },
  });
}

/** The names of the control plane's Service: tunnels and the API server use either. */
function serviceNames(namespace: string): readonly string[] {
  return ['istio-system', namespace].flatMap((one) => [`istiod.${one}.svc`, `istiod.${one}.svc.cluster.local`]);
}
