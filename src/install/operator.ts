/**
 * An IstioOperator in our values. Fields that mean the same are taken over; for every other one there is a warning that
 * names it. Source: Istio operator API v1alpha1.
 */
import { parseDefinedValues } from './known-values.ts';
import { isMap, mergeValues } from './values.ts';

export interface OperatorReading {
  readonly values: unknown;
  readonly namespace?: string;
  readonly warnings: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

/** Components of the operator, and where their settings are among the values. */
const COMPONENTS: Readonly<Record<string, 'pilot' | 'cni' | 'ztunnel'>> = {
  pilot: 'pilot',
  cni: 'cni',
  ztunnel: 'ztunnel',
};
/** Of a component's `k8s`, under the same name among our values. */
const POD_FIELDS = ['resources', 'nodeSelector', 'affinity', 'tolerations', 'podAnnotations', 'replicaCount'];
/** Of the mesh configuration, what the mesh acts on; everything is kept in the ConfigMap. */
const MESH_FIELDS = new Set([
  ...['trustDomain', 'accessLogFile', 'accessLogFormat', 'accessLogEncoding', 'enableTracing', 'defaultConfig'],
  'extensionProviders',
]);
const DNS_CAPTURE = 'ISTIO_META_DNS_CAPTURE';
/** True here whatever is said. */
const ALWAYS = new Set(['ISTIO_META_DNS_AUTO_ALLOCATE', 'ISTIO_META_ENABLE_HBONE']);

/** Total. */
export function operatorValues(object: Fields, file: string): OperatorReading {
  const name =
    isMap(object.metadata) && typeof object.metadata.name === 'string' ? object.metadata.name : 'IstioOperator';
  const warnings: string[] = [];
  const warn = (text: string): void => {
    warnings.push(`${file}: ${name}: ${text}`);
  };
  const { profile, hub, tag, revision, namespace, meshConfig, components, values, ...unknown } = fieldsOf(object.spec);
  for (const key of Object.keys(unknown)) warn(`spec.${key} is not known and has no effect`);
  if (profile !== undefined && profile !== 'ambient') {
    warn(
      profile === 'default' || profile === 'demo'
        ? `profile ${profile} means sidecars elsewhere; this mesh has none and installs ambient`
        : `profile ${textOf(profile)} is not known; ambient is installed`,
    );
  }
  const own = parseDefinedValues(fieldsOf(values));
  for (const path of own.unknown) warn(`spec.values.${path} is not known and has no effect`);
  let result: unknown = own.values;
  const add = (part: unknown): void => {
    result = mergeValues(result, part);
  };
  if (hub !== undefined) add({ global: { hub: textOf(hub) } });
  if (tag !== undefined) add({ global: { tag: textOf(tag) } });
  if (revision !== undefined) add({ revision: textOf(revision) });
  add(meshValues(fieldsOf(meshConfig), warn));
  for (const [component, settings] of Object.entries(fieldsOf(components))) {
    add(componentValues(component, settings, warn));
  }
  return { values: result, ...(typeof namespace === 'string' ? { namespace } : {}), warnings };
}

function meshValues(mesh: Fields, warn: (text: string) => void): unknown {
  for (const key of Object.keys(mesh)) {
    if (!MESH_FIELDS.has(key)) warn(`spec.meshConfig.${key} is kept in the ConfigMap istio and has no effect`);
  }
  const { proxyMetadata } = fieldsOf(mesh.defaultConfig);
  for (const [key, value] of Object.entries(fieldsOf(proxyMetadata))) {
    if (key !== DNS_CAPTURE && !(ALWAYS.has(key) && textOf(value) === 'true')) {
      warn(`spec.meshConfig.defaultConfig.proxyMetadata.${key} has no effect`);
    }
  }
  const capture = fieldsOf(proxyMetadata)[DNS_CAPTURE];
  return {
    ...(Object.keys(mesh).length === 0 ? {} : { meshConfig: mesh }),
    ...(capture === undefined ? {} : { cni: { ambient: { dnsCapture: textOf(capture) !== 'false' } } }),
  };
}

function componentValues(component: string, settings: unknown, warn: (text: string) => void): unknown {
  const where = `spec.components.${component}`;
  if (component === 'base') return {};
  if (component === 'ingressGateways') return ingressValues(settings, warn);
  const target = COMPONENTS[component];
  if (target === undefined) {
    warn(`${where} is not known and has no effect`);
    return {};
  }
  const { enabled, k8s, hub, tag, ...unknown } = fieldsOf(settings);
  for (const key of Object.keys(unknown)) warn(`${where}.${key} is not known and has no effect`);
  if (enabled === false) warn(`${where}.enabled: false has no effect, the mesh needs it`);
  const taken: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fieldsOf(k8s))) {
    if (key === 'env') taken.env = environment(value, `${where}.k8s.env`, warn);
    else if (POD_FIELDS.includes(key) && !(key === 'replicaCount' && target !== 'pilot')) taken[key] = value;
    else warn(`${where}.k8s.${key} is not known and has no effect`);
  }
  if (hub !== undefined) taken.hub = textOf(hub);
  if (tag !== undefined) taken.tag = textOf(tag);
  return Object.keys(taken).length === 0 ? {} : { [target]: taken };
}

/** Kubernetes' list of variables as a map; a variable that is not plain text is named. */
function environment(list: unknown, where: string, warn: (text: string) => void): Fields {
  const result: Record<string, unknown> = {};
  for (const entry of Array.isArray(list) ? list.map(fieldsOf) : []) {
    if (typeof entry.name === 'string' && entry.value !== undefined) result[entry.name] = textOf(entry.value);
    else warn(`${where}.${textOf(entry.name)} is not plain text and has no effect`);
  }
  return result;
}

function ingressValues(list: unknown, warn: (text: string) => void): unknown {
  const ingressGateways: unknown[] = [];
  for (const entry of Array.isArray(list) ? list.map(fieldsOf) : []) {
    const { name = 'istio-ingressgateway', enabled, k8s, ...unknown } = entry;
    const where = `spec.components.ingressGateways[${textOf(name)}]`;
    for (const key of Object.keys(unknown)) warn(`${where}.${key} is not known and has no effect`);
    if (enabled === false) continue;
    const { service, ...other } = fieldsOf(k8s);
    for (const key of Object.keys(other)) warn(`${where}.k8s.${key} is not known and has no effect`);
    const { type: serviceType, ...rest } = fieldsOf(service);
    for (const key of Object.keys(rest)) warn(`${where}.k8s.service.${key} is not known and has no effect`);
    ingressGateways.push({ name, ...(serviceType === undefined ? {} : { serviceType }) });
  }
  return ingressGateways.length === 0 ? {} : { ingressGateways };
}

function fieldsOf(value: unknown): Fields {
  return isMap(value) ? value : {};
}

/** Objects of a document may have a member named `toString`. */
function textOf(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
