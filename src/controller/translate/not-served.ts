/** Statuses of objects that are read and validated but take no effect yet: nobody should have to guess. */
import type { KubeObject } from '../../kube/index.ts';
import type { ParentRef } from '../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';
import { type Gateway, nameOf, namespaceOf, type Resources, type Secret } from '../resources.ts';
import type { Memo } from './memo.ts';

const CONTROLLER_NAME = 'culvert.dev/gateway-controller';

export function notServedStatus(object: KubeObject): StatusPatch {
  const { kind } = object;
  const slash = object.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : object.apiVersion.slice(0, slash);
  const key = { namespace: namespaceOf(object), name: object.metadata.name };
  const message = `${kind} is not served yet: it takes no effect`;
  const parentRefs = (object as { spec?: { parentRefs?: readonly ParentRef[] } }).spec?.parentRefs;
  if (group === 'gateway.networking.k8s.io' && parentRefs) {
    const conditions = [{ type: 'Accepted', status: 'False', reason: 'NotServed', message }];
    const parents = parentRefs.map((parentRef) => ({ parentRef, controllerName: CONTROLLER_NAME, conditions }));
    return { kind: { group, kind }, key, conditions: [], fields: { parents } };
  }
  const type = group === 'gateway.networking.k8s.io' ? 'Accepted' : 'culvert.dev/Served';
  return { kind: { group, kind }, key, conditions: [{ type, status: 'False', reason: 'NotServed', message }] };
}

/** A Gateway somebody else runs has addresses and is left to them; others are told that nobody serves them. */
export function gatewayStatus(gateway: Gateway): StatusPatch {
  const served = (gateway.status?.addresses ?? []).length > 0;
  const message = `Gateways of class ${gateway.spec.gatewayClassName} are not served yet`;
  const condition = (type: string): ConditionValue => ({ type, status: 'False', reason: 'NotServed', message });
  return {
    kind: { group: 'gateway.networking.k8s.io', kind: 'Gateway' },
    key: { namespace: namespaceOf(gateway), name: gateway.metadata.name },
    conditions: served ? [] : [condition('Accepted'), condition('Programmed')],
  };
}

/** Credentials of another cluster; a Secret has no conditions of its own, so the status is one of ours. */
export function remoteSecretStatus(secret: Secret): StatusPatch | undefined {
  if (secret.metadata.labels?.['istio/multiCluster'] !== 'true') return undefined;
  const message = 'multi-cluster is not served yet: the remote cluster is not read';
  return {
    kind: { group: '', kind: 'Secret' },
    key: { namespace: namespaceOf(secret), name: secret.metadata.name },
    conditions: [{ type: 'culvert.dev/Served', status: 'False', reason: 'NotServed', message }],
  };
}

/** What is told about all of them. */
export function otherStatuses(
  memo: Memo,
  { gateways, notServed, secrets }: Pick<Resources, 'gateways' | 'notServed' | 'secrets'>,
): readonly StatusPatch[] {
  const told = <T extends KubeObject>(
    kind: string,
    objects: readonly T[],
    tell: (object: T) => StatusPatch | undefined,
  ): readonly StatusPatch[] =>
    objects.flatMap((object) => {
      const status = memo.get(`${kind} ${object.kind} ${nameOf(object)}`, [object], () => tell(object));
      return status ? [status] : [];
    });
  return [
    ...told('gateway', gateways, gatewayStatus),
    ...told('other', notServed, notServedStatus),
    ...told('secret', secrets, remoteSecretStatus),
  ];
}
