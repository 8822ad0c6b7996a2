import test from 'ava';
import fc from 'fast-check';
import type { ApiObject } from '../cluster/cluster.ts';
import {
  checkClocks,
  checkGatewayApi,
  checkIstioDefinitions,
  checkOtherMeshes,
  checkVersion,
} from './cluster-checks.ts';
import type { Finding } from './finding.ts';
import { checkCapture, checkMonitors } from './mesh-checks.ts';
import { checkNetworkProvider } from './network-checks.ts';
import { checkNetworkPolicies } from './network-policies.ts';
import { checkNodeReport, checkNodes, type NodeReport } from './node-checks.ts';

function object(kind: string, metadata: object, rest: object = {}): ApiObject {
  return { apiVersion: 'v1', kind, metadata: { name: 'x', ...metadata }, ...rest };
}
const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level);

test('versions of Kubernetes, with what vendors append', (t) => {
  t.is(checkVersion('v1.36.3').level, 'ok');
  t.is(checkVersion('v1.30.1-gke.100').level, 'ok');
  t.is(checkVersion('v1.29.9+k3s1').level, 'error');
});

const gatewayCrd = (bundle: string) =>
  object(
    'CustomResourceDefinition',
    { name: 'gateways.gateway.networking.k8s.io', annotations: { 'gateway.networking.k8s.io/bundle-version': bundle } },
    { spec: { versions: [{ name: 'v1', served: true }] } },
  );

test('the Gateway API: there, too old, missing', (t) => {
  t.is(checkGatewayApi([gatewayCrd('v1.6.1')]).level, 'ok');
  t.is(checkGatewayApi([gatewayCrd('v0.8.0')]).level, 'warning');
  t.regex(checkGatewayApi([]).fix ?? '', /standard-install.yaml/);
});

test("definitions of Istio's own stay, and must serve what is read", (t) => {
  const crd = (version: string, served: boolean) =>
    object(
      'CustomResourceDefinition',
      { name: 'authorizationpolicies.security.istio.io' },
      { spec: { versions: [{ name: version, served }] } },
    );
  t.deepEqual(levels(checkIstioDefinitions([crd('v1', true)])), ['info']);
  t.deepEqual(levels(checkIstioDefinitions([crd('v1', false)])), ['error', 'info']);
  t.deepEqual(checkIstioDefinitions([]), []);
});

test('another mesh is named, ours is not', (t) => {
  const istiod = (labels: object) => object('Deployment', { name: 'istiod', namespace: 'istio-system', labels });
  t.deepEqual(levels(checkOtherMeshes([istiod({})])), ['error']);
  t.deepEqual(checkOtherMeshes([istiod({ 'app.kubernetes.io/part-of': 'culvert' })]), []);
});

test('the clock of a node against that of the API server', (t) => {
  const lease = (renewTime: string) =>
    object('Lease', { managedFields: [{ time: '2026-01-01T00:00:00Z' }] }, { spec: { renewTime } });
  t.deepEqual(levels(checkClocks([lease('2026-01-01T00:00:00.400000Z')])), ['ok']);
  t.deepEqual(levels(checkClocks([lease('2026-01-01T00:00:40Z')])), ['warning']);
  t.deepEqual(levels(checkClocks([lease('2025-12-31T23:50:00Z')])), ['error']);
  t.deepEqual(checkClocks([object('Lease', {})]), []);
});

test("Cilium's traps come with the command that disarms them", (t) => {
  const daemonSets = [object('DaemonSet', { name: 'cilium' })];
  const check = (data: Record<string, string>) =>
    checkNetworkProvider({ daemonSets, ciliumConfig: object('ConfigMap', {}, { data }) });
  t.deepEqual(levels(check({ 'cni-exclusive': 'false', 'kube-proxy-replacement': 'false' })), ['ok']);
  const trapped = check({ 'kube-proxy-replacement': 'true' });
  t.deepEqual(levels(trapped), ['info', 'error', 'error']);
  t.regex(trapped[1]?.fix ?? '', /cni.exclusive=false/);
  t.regex(trapped[2]?.fix ?? '', /socketLB.hostNamespaceOnly=true/);
  const disarmed = { 'cni-exclusive': 'false', 'kube-proxy-replacement': 'true', 'bpf-lb-sock-hostns-only': 'true' };
  t.deepEqual(levels(check(disarmed)), ['ok']);
});

const node = (nodeInfo: object) => object('Node', { name: 'n1' }, { status: { nodeInfo } });

test('nodes: kernel, architecture, platform', (t) => {
  const good = { kernelVersion: '6.1.0-13-amd64', architecture: 'amd64', operatingSystem: 'linux' };
  t.deepEqual(levels(checkNodes([node(good)])), ['ok']);
  t.deepEqual(levels(checkNodes([node({ ...good, kernelVersion: '5.4.0' })])), ['info']);
  t.deepEqual(levels(checkNodes([node({ ...good, kernelVersion: '3.10.0-1160' })])), ['error']);
  t.deepEqual(levels(checkNodes([node({ ...good, architecture: 's390x' })])), ['error']);
  const k3s = checkNodes([node({ ...good, kubeletVersion: 'v1.36.1+k3s1' })]);
  t.regex(k3s[1]?.fix ?? '', /cniConfDir=\/var\/lib\/rancher/);
});

const report: NodeReport = {
  ...{ kernel: '6.1', cgroup: 'v2', backends: { ebpf: '', nftables: '', iptables: '' }, missingCapabilities: [] },
  ...{ hasBpfFileSystem: true, cniFiles: ['10-x.conflist'], cniPlugins: ['bridge'] },
};

test('what a pod found on a node', (t) => {
  t.deepEqual(levels(checkNodeReport('n', report)), ['ok']);
  const noEbpf = { ...report, backends: { ...report.backends, ebpf: 'no BTF' } };
  t.deepEqual(levels(checkNodeReport('n', noEbpf)), ['ok', 'info']);
  t.deepEqual(levels(checkNodeReport('n', { ...report, backends: { ebpf: 'no', nftables: 'no' } })), ['error']);
  t.deepEqual(levels(checkNodeReport('n', { ...report, missingCapabilities: ['SYS_ADMIN'] })), ['error']);
  t.deepEqual(levels(checkNodeReport('n', { ...report, cniFiles: [] })), ['error']);
  t.deepEqual(levels(checkNodeReport('n', { ...report, hasBpfFileSystem: false })), ['ok', 'warning']);
});

const policy = (name: string, spec: object) => object('NetworkPolicy', { name, namespace: 'shop' }, { spec });
const pod = (labels: object = { app: 'a' }) =>
  object('Pod', { name: 'p', namespace: 'shop', labels }, { status: { podIP: '10.0.0.1' } });
const ports = (...list: readonly object[]) => [{ ports: list }];
const blocks = test.macro((t, spec: object, isBlocked: boolean) => {
  t.is(
    levels(checkNetworkPolicies([policy('one', { podSelector: {}, ...spec })], [pod()])).includes('warning'),
    isBlocked,
  );
});

test('a policy without rules keeps the mesh out', blocks, {}, true);
test('one that lets another port in as well', blocks, { ingress: ports({ port: 80 }) }, true);
test('one that lets the port of the mesh in does not', blocks, { ingress: ports({ port: 15008 }) }, false);
test('nor one with a range around it', blocks, { ingress: ports({ port: 1024, endPort: 65535 }) }, false);
test('nor one for all ports', blocks, { ingress: [{}] }, false);
test('UDP is another port', blocks, { ingress: ports({ port: 15008, protocol: 'UDP' }) }, true);
test(
  'a policy for outgoing traffic counts too',
  blocks,
  { policyTypes: ['Egress'], egress: ports({ port: 53 }) },
  true,
);
test('one for other pods does not', blocks, { podSelector: { matchLabels: { app: 'b' } } }, false);
test(
  'nor one by expression',
  blocks,
  { podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['a'] }] } },
  false,
);

test('policies add up, and the patch opens the port and lets probes in', (t) => {
  const closed = policy('closed', { podSelector: {} });
  t.deepEqual(levels(checkNetworkPolicies([closed, policy('open', { podSelector: {}, ingress: [{}] })], [pod()])), [
    'ok',
  ]);
  const [finding] = checkNetworkPolicies([closed], [pod()]);
  const patch = JSON.parse(/-p '(.*)'$/.exec(finding?.fix ?? '')?.[1] ?? '[]') as {
    op: string;
    path: string;
    value: object[];
  }[];
  t.deepEqual(patch[0]?.path, '/spec/ingress');
  t.deepEqual(patch[0]?.value[0], { ports: [{ port: 15_008, protocol: 'TCP' }] });
  t.true(JSON.stringify(patch).includes('169.254.7.127/32'));
});

test('a policy as patched is not found again', (t) => {
  const port = fc.record({ port: fc.integer({ min: 1, max: 65_535 }), protocol: fc.constantFrom('TCP', 'UDP') });
  fc.assert(
    fc.property(fc.array(fc.record({ ports: fc.array(port, { minLength: 1 }) })), (ingress) => {
      const [finding] = checkNetworkPolicies([policy('p', { podSelector: {}, ingress })], [pod()]);
      const patch = JSON.parse(/-p '(.*)'$/.exec(finding?.fix ?? '')?.[1] ?? '[]') as { value: object }[];
      const patched = policy('p', { podSelector: {}, ingress: [...ingress, ...patch.map(({ value }) => value)] });
      return !levels(checkNetworkPolicies([patched], [pod()])).includes('warning');
    }),
  );
  t.pass();
});

test('pods that are to be captured and are not', (t) => {
  const spaces = [object('Namespace', { name: 'shop', labels: { 'istio.io/dataplane-mode': 'ambient' } })];
  const captured = (state: string | undefined) =>
    object(
      'Pod',
      { namespace: 'shop', ...(state ? { annotations: { 'ambient.istio.io/redirection': state } } : {}) },
      { status: { podIP: '10.0.0.1' } },
    );
  t.deepEqual(levels(checkCapture(spaces, [captured('enabled')])), ['ok']);
  t.deepEqual(levels(checkCapture(spaces, [captured('pending'), captured(undefined)])), ['error', 'warning']);
  t.deepEqual(checkCapture([], [captured(undefined)]), []);
});

test('a ServiceMonitor that does not look into the namespace of the mesh', (t) => {
  const monitor = (namespace: string, spec: object) =>
    object('ServiceMonitor', { namespace }, { spec: { selector: { matchLabels: { app: 'istiod' } }, ...spec } });
  const found = checkMonitors([monitor('monitoring', {})], 'istio-system');
  t.regex(found[0]?.fix ?? '', /namespaceSelector/);
  t.deepEqual(checkMonitors([monitor('istio-system', {})], 'istio-system'), []);
  t.deepEqual(checkMonitors([monitor('monitoring', { namespaceSelector: { any: true } })], 'istio-system'), []);
  t.deepEqual(checkMonitors([monitor('m', { selector: { matchLabels: { app: 'other' } } })], 'istio-system'), []);
});

test('control: what nobody provides is no reason for a fault', (t) => {
  t.deepEqual(levels(checkNetworkProvider({ daemonSets: [], ciliumConfig: undefined })), ['info']);
});
