import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { readInstallFile } from './install-file.ts';
import { renderObjects } from './manifests/index.ts';
import { parseValues } from './values.ts';

const ACCEPTANCE = join(import.meta.dirname, '../../test/testdata/acceptance');
const served = new Set(['gateway.networking.k8s.io/v1']);

function read(name: string) {
  const file = readInstallFile(readFileSync(join(ACCEPTANCE, name), 'utf8'), name);
  const values = parseValues(file.values, '0.1.0');
  return { ...file, values, objects: renderObjects({ values, namespace: 'istio-system', served }) };
}

test('01-install.yaml: resources and gateways are honoured, sidecars become ambient with a warning', (t) => {
  const { values, warnings, objects } = read('01-install.yaml');
  t.deepEqual(warnings, [
    '01-install.yaml: istio-control-plane: profile default means sidecars elsewhere; this mesh has none and installs ambient',
  ]);
  t.deepEqual(values.pilot.resources, { requests: { cpu: '500m', memory: '2Gi' } });
  t.deepEqual(values.ingressGateways, [{ name: 'istio-ingressgateway', serviceType: 'LoadBalancer' }]);
  t.is(values.meshConfig.enableTracing, true);
  const gateway = objects.find(({ kind }) => kind === 'Gateway');
  t.is(gateway?.metadata.name, 'istio-ingressgateway');
});

test('08-multicluster.yaml: names of mesh, cluster and network reach the programs', (t) => {
  const { warnings, objects } = read('08-multicluster.yaml');
  t.is(warnings.length, 2);
  t.regex(warnings[1] ?? '', /Secret is not about the installation/);
  const tunnel = JSON.stringify(
    objects.find(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === 'ztunnel'),
  );
  t.true(tunnel.includes('{"name":"CLUSTER_ID","value":"cluster1"}'));
  t.true(tunnel.includes('{"name":"NETWORK","value":"network1"}'));
  t.true(tunnel.includes('{"name":"ISTIO_META_MESH_ID","value":"mesh1"}'));
});

test('fields that nobody knows are named', (t) => {
  const { warnings } = readInstallFile(
    `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: { name: x }
spec:
  profile: minimal
  nonsense: 1
  meshConfig: { dnsRefreshRate: 5s, defaultConfig: { proxyMetadata: { OTHER: a } } }
  components:
    egressGateways: []
    cni: { k8s: { hpaSpec: {}, resources: {} }, extra: 1 }
    pilot: { k8s: { env: [{ name: A, valueFrom: {} }, { name: B, value: "1" }] } }
    ingressGateways: [{ name: in, k8s: { replicaCount: 2, service: { type: NodePort, ports: [] } } }]
  values:
    pilot: { traceSampling: 1, env: { C: x } }
    sidecarInjectorWebhook: {}
    global: { proxy: { privileged: true } }
`,
    'f',
  );
  t.deepEqual(
    warnings.map((text) => text.replace('f: x: ', '')),
    [
      'spec.nonsense is not known and has no effect',
      'profile minimal is not known; ambient is installed',
      'spec.values.pilot.traceSampling is not known and has no effect',
      'spec.values.sidecarInjectorWebhook is not known and has no effect',
      'spec.values.global.proxy.privileged is not known and has no effect',
      'spec.meshConfig.dnsRefreshRate is kept in the ConfigMap istio and has no effect',
      'spec.meshConfig.defaultConfig.proxyMetadata.OTHER has no effect',
      'spec.components.egressGateways is not known and has no effect',
      'spec.components.cni.extra is not known and has no effect',
      'spec.components.cni.k8s.hpaSpec is not known and has no effect',
      'spec.components.pilot.k8s.env.A is not plain text and has no effect',
      'spec.components.ingressGateways[in].k8s.replicaCount is not known and has no effect',
      'spec.components.ingressGateways[in].k8s.service.ports is not known and has no effect',
    ],
  );
});

test('values of our own: a mistake is an error that says where', (t) => {
  const error = t.throws(() => parseValues(readInstallFile('pilot: { replicas: 3 }', 'f').values, '1'), {
    instanceOf: MeshError,
    code: 'ERR_CONFIG',
  });
  t.regex(error?.message ?? '', /pilot: Unrecognized key: "replicas"/);
});

test('DNS capture is switched off for agent and tunnel together', (t) => {
  const text = `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec: { meshConfig: { defaultConfig: { proxyMetadata: { ISTIO_META_DNS_CAPTURE: "false" } } } }`;
  const values = parseValues(readInstallFile(text, 'f').values, '1');
  const programs = renderObjects({ values, namespace: 'n', served }).filter(({ kind }) => kind === 'DaemonSet');
  t.deepEqual(
    programs.map((program) => /DNS_CAPTURE","value":"false"/.test(JSON.stringify(program))),
    [true, true],
  );
});

test('any text is read, or refused with ERR_CONFIG', (t) => {
  const object = fc.record({
    apiVersion: fc.constant('install.istio.io/v1alpha1'),
    kind: fc.constant('IstioOperator'),
    spec: fc.object(),
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string({ unit: fc.constantFrom(...'*&a: \n-{}[]!"?|>%<') }),
        fc.jsonValue().map((value) => JSON.stringify(value)),
        object.map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          const { warnings } = readInstallFile(text, 'f');
          return Array.isArray(warnings);
        } catch (error) {
          return error instanceof MeshError && error.code === 'ERR_CONFIG';
        }
      },
    ),
  );
  t.pass();
});
