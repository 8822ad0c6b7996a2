import test from 'ava';
import type { Clock } from '../../core/clock.ts';
import type { KubeObject } from '../../kube/index.ts';
import { CertificateAuthority } from '../../pki/index.ts';
import type { ObjectAccess } from '../object-access.ts';
import { secretCaKeeper } from './secret-ca-keeper.ts';

const DAY = 24 * 3_600_000;
const NOW = 1_700_000_000_000;
const clockAt = (nowMs: number): Clock => ({ nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} });

/** One object with the API server's rule: who is late does not win. */
function oneObject(): ObjectAccess & { present: KubeObject | undefined } {
  let version = 0;
  const next = (object: KubeObject) => {
    version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
  };
  return {
    present: undefined,
    async readObject() {
      return this.present;
    },
    async createObject(object) {
      if (this.present) return false;
      this.present = next(object);
      return true;
    },
    async replaceObject(object) {
      if (this.present?.metadata.resourceVersion !== object.metadata.resourceVersion) return false;
      this.present = next(object);
      return true;
    },
  };
}

const open = (objects: ObjectAccess, nowMs = NOW) =>
  CertificateAuthority.open({
    folder: secretCaKeeper(objects, 'istio-system'),
    trustDomain: 'cluster.local',
    clock: clockAt(nowMs),
  });

test('two replicas that start at once have one root', async (t) => {
  const objects = oneObject();
  const [one, other] = await Promise.all([open(objects), open(objects)]);
  t.is(one.rootsPem, other.rootsPem);
  t.like(objects.present, { kind: 'Secret', type: 'istio.io/ca-root', metadata: { name: 'istio-ca-secret' } });
});

test('a replica takes over the root that another renewed', async (t) => {
  const objects = oneObject();
  const old = await open(objects);
  const before = old.rootsPem;
  t.false(await old.renewRootIfDue());
  const renewing = await open(objects, NOW + 3_000 * DAY);
  t.not(renewing.rootsPem, before);
  t.true(await old.renewRootIfDue());
  t.is(old.rootsPem, renewing.rootsPem);
});

test('a Secret without a key is refused, not replaced', async (t) => {
  const objects = oneObject();
  objects.present = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'istio-ca-secret' } };
  await t.throwsAsync(open(objects), { code: 'ERR_CONFIG', message: /lacks/ });
});
