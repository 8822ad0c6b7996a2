/** Everything that is installed, in the order in which it is applied. */
import { customResourceDefinition, shippedKinds } from '../../schema/index.ts';
import { evaluate, type Filling, holds, valueAt } from '../template/evaluate.ts';
import { type Condition, When, when } from '../template/expression.ts';
import type { InstallValues } from '../values.ts';
import { CONTROL_PLANE_MANIFESTS } from './control-plane.ts';
import { ForEach, GATEWAY_MANIFESTS } from './gateways.ts';
import { type AnyManifest, PART_OF, values } from './manifest.ts';
import { AGENT_MANIFESTS } from './node-agent.ts';
import { TUNNEL_MANIFESTS } from './tunnel.ts';

/** A manifest, possibly under conditions or for each element of a list. */
export type ManifestNode = AnyManifest | ForEach | When<AnyManifest | ForEach>;

export interface ManifestGroup {
  /** `ztunnel`; a file of the chart. */
  readonly name: string;
  readonly manifests: readonly ManifestNode[];
}

/** An object as the API server takes it. */
export interface PlainObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** Removing the chart must not remove everybody's configuration with the definitions. */
const KEEP = { 'helm.sh/resource-policy': 'keep' };

const CRD_MANIFESTS = shippedKinds().map((kind) => {
  const crd = customResourceDefinition(kind) as unknown as AnyManifest; // no expressions in it
  return when(values.crds.enabled, { ...crd, metadata: { ...crd.metadata, annotations: KEEP } });
});

export const MANIFEST_GROUPS: readonly ManifestGroup[] = [
  { name: 'crds', manifests: CRD_MANIFESTS },
  { name: 'istiod', manifests: CONTROL_PLANE_MANIFESTS },
  { name: 'istio-cni', manifests: AGENT_MANIFESTS },
  { name: 'ztunnel', manifests: TUNNEL_MANIFESTS },
  { name: 'gateways', manifests: GATEWAY_MANIFESTS },
];

export interface RenderOptions {
  readonly values: InstallValues;
  readonly namespace: string;
  /** Group versions that the cluster serves. */
  readonly served: ReadonlySet<string>;
}

/** The namespace itself: not part of the chart, because Helm makes namespaces in its own way. */
export function namespaceObject({ values: { global }, namespace }: RenderOptions): PlainObject {
  const network = global.network === '' ? {} : { 'topology.istio.io/network': global.network };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { ...PART_OF, ...network } } };
}

/** All objects for these values, without the namespace. */
export function renderObjects(options: RenderOptions): readonly PlainObject[] {
  return MANIFEST_GROUPS.flatMap((group) => renderGroup(group, options));
}

export function renderGroup({ manifests }: ManifestGroup, options: RenderOptions): readonly PlainObject[] {
  return manifests.flatMap((node) => renderNode(node, options));
}

/** Splits a node into its condition and what stands under it. */
export function unwrap(node: ManifestNode): { readonly condition?: Condition; readonly inner: AnyManifest | ForEach } {
  return node instanceof When ? { condition: node.condition, inner: node.content } : { inner: node };
}

function renderNode(node: ManifestNode, filling: Filling): readonly PlainObject[] {
  const { condition, inner } = unwrap(node);
  if (condition !== undefined && !holds(condition, filling)) return [];
  if (!(inner instanceof ForEach)) return [evaluate(inner, filling) as PlainObject];
  const items = valueAt(inner.source, filling) as readonly unknown[];
  return items.map((item) => evaluate(inner.manifest, { ...filling, item }) as PlainObject);
}
