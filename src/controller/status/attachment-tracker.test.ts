import test from 'ava';
import type { SubscriberStatus } from '../../xds/index.ts';
import { WAYPOINT_TYPES } from '../../xds/index.ts';
import type { BoundObject, GatewayResources } from '../gateway-ir.ts';
import { AttachmentTracker } from './attachment-tracker.ts';

const CART: BoundObject = {
  key: 'Service shop/cart',
  namespace: 'shop',
  name: 'cart',
  hostnames: ['cart.shop.svc.cluster.local'],
  wanted: ['shop/wp'],
};
const RESOURCES = [
  { gateway: 'shop/wp', services: [{ namespace: 'shop', hostname: 'cart.shop.svc.cluster.local' }] },
] as unknown as readonly GatewayResources[]; // no more is read

function replica(generation: number | undefined, gateway = 'shop/wp'): SubscriberStatus {
  return {
    node: { id: 'w', podName: 'w', namespace: 'shop', nodeName: '', gateway },
    connectedAtMs: 0,
    types: WAYPOINT_TYPES.map((typeUrl) => ({
      typeUrl,
      sentGeneration: 0,
      ackedGeneration: 0,
      lastNack: undefined,
      pendingNames: 0,
      syncedGeneration: generation,
    })),
  };
}

function trackerAt(generation: number): AttachmentTracker {
  const tracker = new AttachmentTracker();
  tracker.committed(RESOURCES, { generation, find: () => ({}) as never });
  return tracker;
}

const attaches = test.macro((t, replicas: readonly SubscriberStatus[], attached: boolean) => {
  const tracker = trackerAt(5);
  t.is(tracker.update([CART], replicas), attached);
  t.deepEqual(tracker.attachments.get(CART.key), attached ? ['shop/wp'] : undefined);
});
test('nobody is connected: not attached', attaches, [], false);
test('every replica has it: attached', attaches, [replica(5), replica(6)], true);
test('one replica has not acknowledged: not attached', attaches, [replica(5), replica(undefined)], false);
test('one replica has an older generation: not attached', attaches, [replica(5), replica(4)], false);
test('another gateway does not count', attaches, [replica(5, 'shop/other')], false);

test('what is attached stays so when replicas come and go, and goes with the wish', (t) => {
  const tracker = trackerAt(5);
  tracker.update([CART], [replica(5)]);
  t.false(tracker.update([CART], []));
  t.false(tracker.update([CART], [replica(undefined)]));
  t.deepEqual(tracker.attachments.get(CART.key), ['shop/wp']);
  t.true(tracker.update([], [replica(5)]));
  t.is(tracker.attachments.size, 0);
});

test('a service that could not be told is not attached', (t) => {
  const tracker = new AttachmentTracker();
  tracker.committed(RESOURCES, { generation: 5, find: () => undefined });
  t.false(tracker.update([CART], [replica(9)]));
});
