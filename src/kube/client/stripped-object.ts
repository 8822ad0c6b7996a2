/**
 * Objects without what nobody reads, so that memory follows the mesh and not the size of manifests.
 * What is kept of a pod is what `PodBody` names; values of secrets are never kept. Null means absent in Kubernetes, and
 * is made so.
 */
import type { KubeObject } from '../port.ts';

type Fields = Readonly<Record<string, unknown>>;

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const POD_SPEC = ['nodeName', 'serviceAccountName', 'hostNetwork', 'hostname', 'subdomain'];
const POD_STATUS = ['phase', 'podIP', 'podIPs', 'conditions'];
const CONTAINER = ['name', 'restartPolicy', 'ports'];

/** A new object; the given one stays. Total over anything that has metadata. */
export function strippedObject(object: KubeObject): KubeObject {
  const stripped = {
    ...object,
    metadata: strippedMetadata(object.metadata as unknown as Fields),
  } as unknown as KubeObject;
  const keep = isCore(object) ? BY_KIND[object.kind] : undefined;
  return withoutNulls(keep ? keep(stripped as KubeObject & Fields) : stripped) as KubeObject;
}

const BY_KIND: Readonly<Record<string, (object: KubeObject & Fields) => KubeObject>> = {
  Pod: strippedPod,
  Node: ({ apiVersion, kind, metadata }) => ({ apiVersion, kind, metadata }),
  Namespace: ({ apiVersion, kind, metadata }) => ({ apiVersion, kind, metadata }),
  Secret: ({ apiVersion, kind, metadata, type, data }) =>
    ({ apiVersion, kind, metadata, type, data: blankValues(data) }) as KubeObject,
};

function strippedPod(pod: KubeObject & Fields): KubeObject {
  const spec = asFields(pod.spec);
  return {
    ...pod,
    spec: {
      ...pick(spec, POD_SPEC),
      containers: strippedContainers(spec.containers),
      ...(spec.initContainers === undefined ? {} : { initContainers: strippedContainers(spec.initContainers) }),
    },
    status: pick(asFields(pod.status), POD_STATUS),
  } as KubeObject;
}

function strippedContainers(containers: unknown): readonly Fields[] {
  return Array.isArray(containers) ? containers.map((container) => pick(asFields(container), CONTAINER)) : [];
}

function strippedMetadata({ managedFields: _fields, annotations, ...metadata }: Fields): Fields {
  if (annotations === undefined || annotations === null) return metadata;
  const { [LAST_APPLIED]: _applied, ...rest } = asFields(annotations);
  return { ...metadata, annotations: rest };
}

/** The same value where there is nothing to leave out. API servers bound how deep objects nest. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map(withoutNulls);
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  const entries = Object.entries(value);
  const kept = entries
    .filter(([, field]) => field !== null)
    .map(([name, field]) => [name, withoutNulls(field)] as const);
  const same = kept.length === entries.length && kept.every(([, field], index) => field === entries[index]?.[1]);
  return same ? value : Object.fromEntries(kept);
}

function blankValues(data: unknown): Fields {
  return Object.fromEntries(Object.keys(asFields(data)).map((name) => [name, '']));
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]]));
}

function isCore({ apiVersion }: KubeObject): boolean {
  return apiVersion === 'v1';
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}
