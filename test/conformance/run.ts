/**
 * `npm run conformance`: the Gateway API conformance suite, mesh profiles, against an installed mesh, and the proof that
 * its traffic was HBONE: the suite alone also passes where pods talk in clear. Arguments go to the suite:
 * `npm run conformance -- --run-test=MeshBasic`.
 *
 *   KUBECONFIG        the cluster, with Gateway API's definitions and this mesh
 *   CONFORMANCE_BIN   the suite as a test binary (`go test -c sigs.k8s.io/gateway-api/conformance`)
 *   CONFORMANCE_ORGANIZATION, CONFORMANCE_URL, CONFORMANCE_CONTACT   who reports; for the report only
 *   E2E_APP_IMAGE     image of the pod that captures between the nodes (see test/e2e)
 *
 * The report goes to docs/conformance/. Where the control plane serves waypoints one stands before the run; otherwise
 * only what needs none can pass. Exits 2 where something is missing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TcpPacket } from '../../src/local/pcap.ts';
import { Kubernetes as Cluster, type Kubernetes, manifest, SLOW_MS } from '../e2e/cluster/kubernetes.ts';
import { hboneFaults, LinkView } from '../e2e/cluster/link-view.ts';
import { readCounts, tunnelPods } from '../e2e/cluster/tunnels.ts';
import { eventually } from '../support/eventually.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const MESH_NAMESPACE = 'gateway-conformance-mesh';
/** The suite waits for a ready pod in these although no mesh test uses them. */
const BACKEND_NAMESPACES = ['gateway-conformance-app-backend', 'gateway-conformance-web-backend'];
const FEATURES = [
  ...['Mesh', 'HTTPRoute', 'GRPCRoute', 'MeshClusterIPMatching', 'MeshConsumerRoute', 'MeshHTTPRouteRewritePath'],
  ...['MeshHTTPRouteSchemeRedirect', 'MeshHTTPRouteRedirectPort', 'MeshHTTPRouteRedirectPath'],
  ...[
    'MeshHTTPRouteBackendRequestHeaderModification',
    'MeshHTTPRouteQueryParamMatching',
    'MeshHTTPRouteNamedRouteRule',
  ],
  ...['HTTPRouteResponseHeaderModification', 'HTTPRouteParentRefPort', 'HTTPRoute303RedirectStatusCode'],
  ...['HTTPRoute307RedirectStatusCode', 'HTTPRoute308RedirectStatusCode'],
];
const OPENED = 'istio_tcp_connections_opened_total';

const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string };
const { env } = process;

function explain(problem: string): never {
  console.error(`${problem}\nNeeded: KUBECONFIG of a cluster with this mesh and Gateway API's definitions, and`);
  console.error('CONFORMANCE_BIN, the conformance suite as a test binary.');
  process.exit(2);
}

async function check(cluster: Kubernetes): Promise<void> {
  const served = await cluster.api.call({ method: 'GET', path: '/apis/gateway.networking.k8s.io/v1' });
  if (served.status !== 200) {
    explain("Gateway API's definitions are not there: kubectl apply --server-side -f <its standard-install.yaml>");
  }
  if ((await tunnelPods(cluster)).length === 0)
    explain('No tunnel is ready: install the mesh first (culvert install).');
}

/** Whether a waypoint stands; where the control plane serves none there is no GatewayClass for it. */
async function raiseWaypoint(cluster: Kubernetes): Promise<boolean> {
  const path = '/apis/gateway.networking.k8s.io/v1/gatewayclasses/istio-waypoint';
  if ((await cluster.api.call({ method: 'GET', path })).status !== 200) return false;
  const listeners = [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }];
  const labels = { 'istio.io/waypoint-for': 'all' };
  const metadata = { namespace: MESH_NAMESPACE, name: 'waypoint', labels };
  const spec = { gatewayClassName: 'istio-waypoint', listeners };
  const gateway = manifest('gateway.networking.k8s.io/v1', 'Gateway', metadata, { spec });
  await cluster.apply(gateway);
  const isProgrammed = async (): Promise<boolean> => {
    const found = (await cluster.get(gateway)) as unknown as { status?: { conditions?: Condition[] } } | undefined;
    return found?.status?.conditions?.some(({ type, status }) => type === 'Programmed' && status === 'True') === true;
  };
  return await eventually(isProgrammed, 'the waypoint is programmed', SLOW_MS).then(
    () => true,
    () => false,
  );
}

interface Condition {
  readonly type: string;
  readonly status: string;
}

async function runSuite(binary: string, report: string, hasWaypoint: boolean): Promise<number> {
  const labels = ['istio.io/dataplane-mode=ambient', ...(hasWaypoint ? ['istio.io/use-waypoint=waypoint'] : [])];
  const args = [
    ...['-test.run', '^TestConformance$', '-test.v', '-test.timeout', '60m'],
    ...['--conformance-profiles=MESH-HTTP,MESH-GRPC', `--supported-features=${FEATURES.join(',')}`],
    ...[`--namespace-labels=${labels.join(',')}`, '--cleanup-base-resources=false', `--report-output=${report}`],
    `--organization=${env.CONFORMANCE_ORGANIZATION || 'culvert'}`,
    ...['--project=culvert', `--url=${env.CONFORMANCE_URL || 'https://culvert.dev'}`, `--version=v${version}`],
    `--contact=${env.CONFORMANCE_CONTACT || 'maintainers@culvert.dev'}`,
    ...process.argv.slice(2),
  ];
  const child = spawn(binary, args, { stdio: 'inherit' });
  const [status] = (await once(child, 'exit')) as [number | null];
  return status ?? 1;
}

/** What every node sees while `during` runs. */
async function captureOnAll(views: readonly LinkView[], during: () => Promise<void>): Promise<readonly TcpPacket[]> {
  const [first, ...others] = views;
  if (first === undefined) {
    await during();
    return [];
  }
  let inner: readonly TcpPacket[] = [];
  const filter = 'not port 15012 and not port 6443 and not port 10250';
  const outer = await first.captureEverywhere(filter, async () => {
    inner = await captureOnAll(others, during);
  });
  return [...outer, ...inner];
}

if (!env.KUBECONFIG) explain('KUBECONFIG is not set.');
const binary = env.CONFORMANCE_BIN || explain('CONFORMANCE_BIN is not set.');
try {
  accessSync(binary, constants.X_OK);
} catch {
  explain(`CONFORMANCE_BIN: cannot run ${binary}.`);
}
const cluster = await Cluster.open();
await check(cluster);
const namespaces: string[] = [];
const namespace = async (name: string): Promise<string> => {
  namespaces.push(name);
  await cluster.apply(manifest('v1', 'Namespace', { name }));
  return name;
};
let status = 1;
const views: LinkView[] = [];
try {
  for (const name of BACKEND_NAMESPACES) {
    const image = { name: 'pause', image: 'registry.k8s.io/pause:3.10', imagePullPolicy: 'IfNotPresent' };
    const metadata = { namespace: await namespace(name), name: 'placeholder' };
    await cluster.apply(manifest('v1', 'Pod', metadata, { spec: { containers: [image] } }));
  }
  await namespace(MESH_NAMESPACE);
  const hasWaypoint = await raiseWaypoint(cluster);
  if (!hasWaypoint) console.log('no waypoint is programmed: routes cannot take effect');
  for (const node of await cluster.nodes()) {
    views.push(await LinkView.open({ cluster, namespace: (role) => namespace(`gateway-conformance-${role}`) }, node));
  }
  const labels = { connection_security_policy: 'mutual_tls', destination_workload_namespace: MESH_NAMESPACE };
  const encrypted = async () => (await readCounts(cluster))(OPENED, { ...labels, reporter: 'destination' });
  const before = await encrypted();
  mkdirSync(join(REPOSITORY, 'docs/conformance'), { recursive: true });
  const report = join(REPOSITORY, `docs/conformance/v${version}-mesh-report.yaml`);
  const packets = await captureOnAll(views, async () => {
    status = await runSuite(binary, report, hasWaypoint);
  });
  const pods = await cluster.pods(MESH_NAMESPACE);
  const ips = new Set(pods.flatMap(({ status: { podIPs = [] } }) => podIPs.map(({ ip }) => ip)));
  const between = packets.filter(({ sourceIp, destinationIp }) => ips.has(sourceIp) && ips.has(destinationIp));
  const faults = hboneFaults(between, 'HTTP/1.1');
  const count = (await encrypted()) - before;
  console.log(`# ${count} connections to pods of the suite came by mutual TLS, as their tunnels count`);
  console.log(`# ${between.length} packets between its pods; ${faults.join('; ') || 'all of them HBONE'}`);
  if (count === 0 || faults.length > 0) {
    console.error('the traffic of the suite was not HBONE alone');
    status = 1;
  }
} finally {
  for (const view of views) await view[Symbol.asyncDispose]();
  const all = await cluster.list('/api/v1/namespaces'); // the suite makes some itself
  const left = all.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('gateway-conformance-'));
  for (const name of new Set([...namespaces, ...left])) await cluster.delete(manifest('v1', 'Namespace', { name }));
}
process.exit(status);
