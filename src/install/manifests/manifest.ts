/** What the manifests share: their type, labels, and the values as expressions. */
import type { V1ObjectMeta } from '@kubernetes/client-node';
import { firstOf, NAMESPACE, type Ref, refs, type Templated, TextNode, text } from '../template/expression.ts';
import type { InstallValues } from '../values.ts';

/** The installation values, as expressions. */
export const values = refs<InstallValues>();

/** An object of the Kubernetes API with expressions in it. */
export type Manifest<T> = Fields<Omit<T, 'apiVersion' | 'kind' | 'metadata' | 'status'>> & AnyManifest;

type Fields<T> = { readonly [K in keyof T]: Templated<T[K]> };

/** A manifest of whatever kind. */
export interface AnyManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Templated<Omit<V1ObjectMeta, 'creationTimestamp' | 'deletionTimestamp' | 'managedFields'>>;
}

/** On everything that is installed: what to look for when it is removed. */
export const PART_OF = { 'app.kubernetes.io/part-of': 'culvert' } as const;
export const CONTROL_PLANE = 'istiod';
export const AGENT = 'istio-cni-node';
export const TUNNEL = 'ztunnel';

/** Labels of the objects of one program. */
export function labelsOf(name: string): Readonly<Record<string, string>> {
  return { app: name, 'app.kubernetes.io/name': name, ...PART_OF };
}

/** Metadata of an object in the namespace that is installed into. */
export function inNamespace(name: string, app: string) {
  return { name, namespace: NAMESPACE, labels: labelsOf(app) };
}

/** Cluster-wide names carry the namespace, so that two installations do not meet. */
export function clusterWide(name: string, app: string) {
  return { name: new TextNode([`${name}-`, ''], [NAMESPACE]), labels: labelsOf(app) };
}

/** `hub/image:tag`, with what the program's own values say first. */
export function imageOf(of: { readonly hub: Ref<string>; readonly tag: Ref<string>; readonly image: Ref<string> }) {
  return text`${firstOf(of.hub, values.global.hub)}/${of.image}:${firstOf(of.tag, values.global.tag)}`;
}

/** A variable whose value is a field of the pod. */
export function fieldEnv(name: string, fieldPath: string) {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}
