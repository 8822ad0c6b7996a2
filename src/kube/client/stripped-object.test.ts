import test from 'ava';
import type { KubeObject } from '../port.ts';
import { strippedObject } from './stripped-object.ts';

const stripped = (object: object) => strippedObject(object as KubeObject) as KubeObject & Record<string, unknown>;

test('managed fields and the last applied manifest go from every kind', (t) => {
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{}', kept: 'yes' };
  const metadata = { name: 'one', labels: { app: 'x' }, managedFields: [{}], annotations };
  const spec = { hosts: ['a'], anything: { at: ['all'] } };
  t.deepEqual<unknown, unknown>(
    stripped({ apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry', metadata, spec }),
    {
      ...{ apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry', spec },
      metadata: { name: 'one', labels: { app: 'x' }, annotations: { kept: 'yes' } },
    },
  );
});

test('a pod keeps what the mesh reads', (t) => {
  const ports = [{ name: 'http', containerPort: 80 }];
  const container = { name: 'app', image: 'x', env: [{}], ports };
  const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: null }];
  const { spec, status } = stripped({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one' } },
    spec: {
      nodeName: 'a',
      volumes: [{}],
      containers: [container],
      initContainers: [{ ...container, restartPolicy: 'Always' }],
    },
    status: { phase: 'Running', podIP: '10.0.0.1', conditions, containerStatuses: [{}] },
  });
  t.deepEqual<unknown, unknown>(spec, {
    nodeName: 'a',
    containers: [{ name: 'app', ports }],
    initContainers: [{ name: 'app', restartPolicy: 'Always', ports }],
  });
  t.deepEqual<unknown, unknown>(status, {
    phase: 'Running',
    podIP: '10.0.0.1',
    conditions: [{ type: 'Ready', status: 'True' }],
  });
});

test('values of secrets are never kept', (t) => {
  const secret = stripped({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { key: 'c2VjcmV0' } });
  t.deepEqual(secret.data, { key: '' });
});

test('nodes and namespaces keep their metadata; a kind of another group is not mistaken for them', (t) => {
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' }, status: { images: [{}] } };
  t.is(stripped(node).status, undefined);
  t.deepEqual(stripped({ ...node, apiVersion: 'example.com/v1' }).status, { images: [{}] });
});
