import test from 'ava';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { MeshError } from '../../core/errors.ts';
import { silentLogger } from '../../core/logger.ts';
import type { KubeObject, KubeWriter } from '../../kube/index.ts';
import type { StatusPatch } from '../ir.ts';
import { ALWAYS_LEADING, type Leadership } from '../leader/leader-election.ts';
import { StatusWriter } from './status-writer.ts';

const object: KubeObject = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'b', namespace: 'a' } };
const patch = (reason: string): StatusPatch => ({
  kind: { group: '', kind: 'Service' },
  key: { namespace: 'a', name: 'b' },
  conditions: [{ type: 'Bound', status: 'True', reason, message: '' }],
});

function writerThat(write: () => Promise<void>, found = object, leadership: Leadership = ALWAYS_LEADING) {
  const written: unknown[] = [];
  const writer: KubeWriter = {
    async patchStatus(_kind, _key, status) {
      written.push(status);
      await write();
    },
    async patchAnnotations() {},
  };
  const clock = new ManualClock();
  const statuses = new StatusWriter({
    writer,
    find: () => found,
    clock,
    leadership,
    log: silentLogger,
  });
  return { written, statuses, clock };
}

test('parts of one status are written together', async (t) => {
  const { written, statuses } = writerThat(async () => {});
  const more = { ...patch('x'), conditions: [{ type: 'Other', status: 'False', reason: 'y', message: '' }] } as const;
  statuses.want([patch('x'), more]);
  await statuses.idle();
  t.is(written.length, 1);
  t.is((written[0] as { conditions: unknown[] }).conditions.length, 2);
});

test('an object that has gone is no failure', async (t) => {
  const { written, statuses } = writerThat(async () => {
    throw new MeshError('ERR_NOT_FOUND', 'gone');
  });
  statuses.want([patch('x')]);
  await statuses.idle();
  t.is(written.length, 1);
});

test('only the newest wish counts', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { written, statuses } = writerThat(() => gate.promise);
  statuses.want([patch('first')]);
  statuses.want([patch('second')]);
  statuses.want([patch('third')]);
  gate.resolve();
  await statuses.idle();
  t.true(JSON.stringify(written.at(-1)).includes('third'));
  t.false(JSON.stringify(written).includes('second'));
});

test('a condition that an earlier process wrote is taken back when it no longer holds', async (t) => {
  const bound = { type: 'istio.io/WaypointBound', status: 'True' };
  const stale = { ...object, status: { conditions: [bound, { type: 'Foreign', status: 'True' }] } };
  const { written, statuses } = writerThat(async () => {}, stale);
  statuses.want([{ ...patch('x'), conditions: [] }]);
  await statuses.idle();
  t.deepEqual(written, [{ conditions: [] }]);
});

test('who does not lead writes nothing, and writes what is wanted when it begins to', async (t) => {
  let begin = () => {};
  const leadership = {
    leading: false,
    subscribe(listener: () => void) {
      begin = listener;
      return { [Symbol.dispose]() {} };
    },
  };
  const { written, statuses } = writerThat(async () => {}, object, leadership);
  statuses.want([patch('x')]);
  await statuses.idle();
  t.is(written.length, 0);
  leadership.leading = true;
  begin();
  await statuses.idle();
  t.is(written.length, 1);
});
