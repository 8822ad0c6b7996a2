import test from 'ava';
import fc from 'fast-check';
import { ManualClock, settled } from '../../../test/support/manual-clock.ts';
import { silentLogger } from '../../core/logger.ts';
import type { KubeObject } from '../../kube/index.ts';
import type { ObjectAccess } from '../object-access.ts';
import { LeaderElection } from './leader-election.ts';
import { heldBy, type Lease, nextLeaseStep, observe } from './lease-record.ts';

const KEY = { namespace: 'istio-system', name: 'istio-leader' };

/** One object with the API server's rule: who is late does not win. `reachable` cuts replicas off. */
function leaseServer() {
  let present: KubeObject | undefined;
  let version = 0;
  const next = (object: KubeObject) => {
    version += 1;
    present = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    return true;
  };
  const cut = new Set<string>();
  const access = (identity: string): ObjectAccess => {
    const reach = async () => {
      if (cut.has(identity)) throw new Error('no answer');
    };
    return {
      async readObject() {
        await reach();
        return present;
      },
      async createObject(object) {
        await reach();
        return present ? false : next(object);
      },
      async replaceObject(object) {
        await reach();
        return present?.metadata.resourceVersion === object.metadata.resourceVersion ? next(object) : false;
      },
    };
  };
  return { access, cut, holder: () => (present as Lease | undefined)?.spec?.holderIdentity };
}

function replica(server: ReturnType<typeof leaseServer>, clock: ManualClock, identity: string): LeaderElection {
  return new LeaderElection({ objects: server.access(identity), lease: KEY, identity, clock, log: silentLogger });
}

test('one of two replicas leads, and hands over when it ends', async (t) => {
  const server = leaseServer();
  const clock = new ManualClock();
  const one = replica(server, clock, 'one');
  await settled();
  const other = replica(server, clock, 'other');
  const heard: boolean[] = [];
  other.subscribe(() => heard.push(other.leading));
  for (let i = 0; i < 30; i += 1) await clock.advance(2_000);
  t.true(one.leading);
  t.false(other.leading);
  await one[Symbol.asyncDispose]();
  t.is(server.holder(), '');
  await clock.advance(2_000);
  t.true(other.leading);
  t.deepEqual(heard, [false, true]);
  await other[Symbol.asyncDispose]();
});

test('who cannot renew stops leading before another may begin', async (t) => {
  const server = leaseServer();
  const clock = new ManualClock();
  const one = replica(server, clock, 'one');
  await settled();
  const other = replica(server, clock, 'other');
  await clock.advance(2_000);
  server.cut.add('one');
  let none = 0;
  for (let i = 0; i < 20 && !other.leading; i += 1) {
    await clock.advance(2_000);
    t.false(one.leading && other.leading);
    if (!one.leading && !other.leading) none += 1;
  }
  t.true(other.leading);
  t.true(none > 0);
  server.cut.delete('one');
  await clock.advance(2_000);
  t.false(one.leading);
  await Promise.all([one, other].map((each) => each[Symbol.asyncDispose]()));
});

test('control: a record that goes on changing is never taken', (t) => {
  const spec = (renewTime: string) => ({ ...heldBy('one', undefined, renewTime) });
  const lease = (renewTime: string): Lease => ({
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: KEY },
    spec: spec(renewTime),
  });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 29_999 }), { maxLength: 30 }), (pauses) => {
      let nowMs = 0;
      let observed = observe(undefined, lease('t'), nowMs);
      for (const [index, pause] of pauses.entries()) {
        nowMs += pause;
        t.is(nextLeaseStep(lease(`t${index - 1}`), 'other', observed, nowMs), 'wait');
        observed = observe(observed, lease(`t${index}`), nowMs);
      }
      t.is(nextLeaseStep(lease('same'), 'other', observed, nowMs + 30_000), 'take');
    }),
  );
});
