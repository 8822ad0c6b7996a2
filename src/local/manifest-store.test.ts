import test from 'ava';
import { MeshError } from '../core/errors.ts';
import { parseObjects } from './manifest-store.ts';

const DEPLOYMENT = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
        - {name: a, command: [node, a.ts]}
        - {name: b, command: [node, b.ts], workingDir: sub}
        - {name: c, command: [node, c.ts], workingDir: /abs}
`;

test('a container starts in the folder of its manifest, or in the one it names', (t) => {
  const [object] = parseObjects('/shop/web.yaml', DEPLOYMENT);
  const { spec } = object as unknown as { spec: { template: { spec: { containers: { workingDir: string }[] } } } };
  t.deepEqual(
    spec.template.spec.containers.map(({ workingDir }) => workingDir),
    ['/shop', '/shop/sub', '/abs'],
  );
});

test('objects without a namespace get the given one, cluster-scoped ones none', (t) => {
  const text = `${DEPLOYMENT}---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n`;
  const [deployment, namespace] = parseObjects('/shop/web.yaml', text, 'shop');
  t.is(deployment?.metadata.namespace, 'shop');
  t.is(namespace?.metadata.namespace, undefined);
});

test('a broken manifest is refused with file and line', (t) => {
  const error = t.throws(() => parseObjects('/shop/web.yaml', 'kind: Pod\n'), { instanceOf: MeshError });
  t.is(error?.code, 'ERR_MALFORMED');
  t.regex(error?.message ?? '', /web\.yaml:1: /);
});
