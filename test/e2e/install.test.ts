/**
 * Installing against a real API server, beside whatever mesh is there: what the server thinks of every object, and what the
 * installer says when images cannot be pulled.
 */
import test, { type ExecutionContext } from 'ava';
import { systemClock } from '../../src/core/system-clock.ts';
import {
  Cluster,
  type InstallOptions,
  install,
  type PlainObject,
  parseValues,
  renderObjects,
} from '../../src/install/index.ts';
import { openApi } from './cluster-harness.ts';

let opened = 0;

interface Place {
  readonly cluster: Cluster;
  readonly namespace: string;
}

function options(
  { namespace }: Place,
  values: object,
  more: Partial<InstallOptions> = {},
): InstallOptions & { readonly notes: string[] } {
  const notes: string[] = [];
  return {
    ...{ values: parseValues(values, '0.1.0'), namespace, dryRun: false, wait: true, timeoutMs: 60_000 },
    ...{ clock: systemClock, signal: new AbortController().signal, notes },
    progress: { step: () => {}, note: (text) => notes.push(text) },
    ...more,
  };
}

/** A namespace of its own, removed with everything at the end. */
async function openPlace(t: ExecutionContext): Promise<Place> {
  opened += 1;
  const namespace = `culvert-e2e-${process.pid}-install-${opened}`;
  const cluster = new Cluster(await openApi());
  const space: PlainObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
  await cluster.apply(space, { dryRun: false });
  t.teardown(async () => {
    const own = renderObjects({ values: parseValues({}, '0.1.0'), namespace, served: new Set() });
    for (const object of own.filter(({ kind }) => kind.startsWith('ClusterRole')))
      await cluster.remove(object, { dryRun: false });
    await cluster.remove(space, { dryRun: false });
  });
  return { cluster, namespace };
}

test.serial('the API server takes every object as it is', async (t) => {
  const place = await openPlace(t);
  const { cluster } = place;
  const counts = await install(cluster, options(place, {}, { dryRun: true }));
  t.true(counts.created >= 15);
  t.is(counts.removed, 0);
  const everything = {
    pilot: {
      taint: { enabled: true },
      autoscaleEnabled: false,
      replicaCount: 2,
      tolerations: [{ operator: 'Exists' }],
    },
    cni: {
      resourceQuotas: { enabled: true },
      ambient: { shareHostNetworkNamespace: true },
      rollingMaxUnavailable: '20%',
    },
    ztunnel: { env: { A: 'b' } },
    global: { imagePullSecrets: ['one'], network: 'n1', meshID: 'm1' },
  };
  t.true((await install(cluster, options(place, everything, { dryRun: true }))).created >= 17);
});

test.serial('control: an object that the API server refuses is named', async (t) => {
  const place = await openPlace(t);
  const { cluster } = place;
  const broken = options(place, { pilot: { podLabels: { 'not a label': 'x' } } }, { dryRun: true });
  const error = await t.throwsAsync(install(cluster, broken), { code: 'ERR_SYSTEM' });
  t.regex(error?.message ?? '', /^Deployment .*\/istiod is refused: 422 .*not a label/);
});

test.serial('images that cannot be pulled are told while waiting, and are why it fails', async (t) => {
  const place = await openPlace(t);
  const { cluster } = place;
  const absent = options(place, { global: { hub: 'registry.invalid/none' } }, { timeoutMs: 25_000 });
  const error = await t.throwsAsync(install(cluster, absent), { code: 'ERR_TIMEOUT' });
  const said = error?.message ?? '';
  t.regex(said, /Deployment .*\/istiod: 0 of 1 pods ready/);
  t.regex(said, /(ErrImagePull|ImagePullBackOff).*registry\.invalid/);
  t.true(absent.notes.some((note) => note.includes('registry.invalid')));
  // The agents wait for the control plane: no node was touched.
  t.is(await cluster.read('apps/v1', 'DaemonSet', 'istio-cni-node', place.namespace), undefined);
});
