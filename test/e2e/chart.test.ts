/**
 * The Helm chart, filled by the real `helm`, is what the command line installs. Needs `helm` on the PATH or in
 * CULVERT_HELM, and a cluster only for the server's own check.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parseAllDocuments, stringify } from 'yaml';
import { type PlainObject, parseValues, renderObjects } from '../../src/install/index.ts';

const CHART = join(import.meta.dirname, '../../deploy/helm/culvert');
const HELM = process.env.CULVERT_HELM ?? 'helm';
const NAMESPACE = 'mesh-system';
const GATEWAY_API = 'gateway.networking.k8s.io/v1';
const VERSION = '0.1.0';

function helm(...args: readonly string[]): string {
  return execFileSync(HELM, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
}

async function renderChart(t: ExecutionContext, values: object, hasGatewayApi: boolean): Promise<PlainObject[]> {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-chart-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'values.yaml');
  await writeFile(file, stringify(values, { version: '1.1' }));
  const served = hasGatewayApi ? ['--api-versions', GATEWAY_API] : [];
  const text = helm('template', 'culvert', CHART, '-n', NAMESPACE, '-f', file, '--kube-version', '1.36.0', ...served);
  return parseAllDocuments(text)
    .map((document) => document.toJS() as PlainObject | null)
    .filter((object) => object !== null);
}

function byName(objects: readonly PlainObject[]): Record<string, unknown> {
  const entries = objects.map((object) => [`${object.kind}/${object.metadata.name}`, comparable(object)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The text of the mesh configuration is written by two YAML printers. */
function comparable(object: PlainObject): unknown {
  const { data } = object as PlainObject & { data?: Record<string, string> };
  if (data?.mesh === undefined) return object;
  return { ...object, data: { ...data, mesh: parseAllDocuments(data.mesh).map((part) => part.toJS()) } };
}

const isTheSame = test.macro(async (t: ExecutionContext, values: object, hasGatewayApi: boolean) => {
  const served = new Set(hasGatewayApi ? [GATEWAY_API] : []);
  const ours = renderObjects({ values: parseValues(values, VERSION), namespace: NAMESPACE, served });
  const wanted = byName(ours);
  const rendered = byName(await renderChart(t, values, hasGatewayApi));
  t.deepEqual(Object.keys(rendered), Object.keys(wanted));
  for (const [name, object] of Object.entries(wanted)) t.deepEqual(rendered[name], object, name);
});

test('chart and command line: the defaults', isTheSame, {}, true);
test('chart and command line: a cluster without the Gateway API', isTheSame, {}, false);
test(
  'chart and command line: everything that can be chosen',
  isTheSame,
  {
    global: {
      ...{ hub: 'registry.example/mesh', tag: '1.0', imagePullSecrets: ['one', 'two'], logAsJson: true },
      ...{ meshID: 'mesh1', network: 'network1', multiCluster: { clusterName: 'cluster1' }, imagePullPolicy: '' },
      defaultPodDisruptionBudget: { enabled: false },
    },
    revision: 'canary',
    meshConfig: { trustDomain: 'td.example', enableTracing: true, defaultConfig: { proxyMetadata: { A: 'true' } } },
    pilot: {
      ...{ hub: 'other.example', tag: '2', env: { B: 1, A: 'x', C: true }, podLabels: { team: 'mesh' } },
      ...{ podAnnotations: { note: 'a: b {{ c }}' }, nodeSelector: { pool: 'system' }, autoscaleEnabled: false },
      ...{ replicaCount: 3, resources: { limits: { memory: '4Gi' } }, tolerations: [{ operator: 'Exists' }] },
      ...{ affinity: { podAntiAffinity: {} }, taint: { enabled: true }, logLevel: 'debug' },
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
    },
    cni: {
      ...{
        excludeNamespaces: ['kube-system', 'other'],
        cniBinDir: '/var/lib/cni/bin',
        chained: false,
        env: { X: 'y' },
      },
      ...{ cniConfFileName: '10-x.conflist', istioOwnedCNIConfig: true, rollingMaxUnavailable: '20%' },
      ambient: { dnsCapture: false, ipv6: false, shareHostNetworkNamespace: true },
      ...{ redirectBackend: 'nftables', resourceQuotas: { enabled: true, pods: 10 }, affinity: { nodeAffinity: {} } },
    },
    ztunnel: {
      terminationGracePeriodSeconds: 60,
      engine: 'native',
      podLabels: { a: 'b' },
      env: { RUST_BACKTRACE: '1' },
    },
    ingressGateways: [
      { name: 'istio-ingressgateway', serviceType: 'NodePort' },
      { name: 'other', serviceType: 'ClusterIP' },
    ],
    crds: { enabled: false },
  },
  true,
);

test('control: other values give other objects', async (t) => {
  const served = new Set([GATEWAY_API]);
  const ours = renderObjects({ values: parseValues({}, VERSION), namespace: NAMESPACE, served });
  t.notDeepEqual(byName(await renderChart(t, { ztunnel: { logLevel: 'debug' } }, true)), byName(ours));
});

test('the chart passes helm lint', (t) => {
  t.regex(helm('lint', '--strict', CHART), /1 chart\(s\) linted, 0 chart\(s\) failed/);
});

for (const [what, setting] of [
  ['a value that nobody knows', 'ztunnel.logLevl=debug'],
  ['a value of another type', 'pilot.replicaCount=many'],
] as const) {
  test(`the schema of the values refuses ${what}`, (t) => {
    const error = t.throws(() =>
      execFileSync(HELM, ['template', CHART, '--kube-version', '1.36.0', '--set', setting], { stdio: 'pipe' }),
    );
    t.regex(String(error), /values don't meet the specifications/);
  });
}
