/**
 * What a gateway tells about its traffic: the mesh configuration, and over it Telemetry objects of the root namespace, of
 * the gateway's namespace, and those attached to it. The oldest object of a level counts.
 * Source: Istio Telemetry API, MeshConfig.
 */
import {
  type AccessLog,
  DEFAULT_TELEMETRY,
  type MetricOverride,
  type TelemetrySettings,
} from '../../../model/l7/index.ts';
import type { ConditionValue, StatusPatch } from '../../ir.ts';
import { namespaceOf, type TelemetryObject } from '../../resources.ts';
import { istioDurationMs } from './istio-duration.ts';
import { type Fields, fieldsOf, listOf, textOf } from './mesh-config.ts';
import { targetRefsOf } from './policy-targets.ts';

export function telemetrySettings(
  objects: readonly TelemetryObject[],
  gateway: { readonly namespace: string; readonly name: string },
  { mesh, rootNamespace }: { readonly mesh: Fields; readonly rootNamespace: string },
): TelemetrySettings {
  const levels = [
    objects.find((one) => namespaceOf(one) === rootNamespace && isWide(one)),
    gateway.namespace === rootNamespace
      ? undefined
      : objects.find((one) => namespaceOf(one) === gateway.namespace && isWide(one)),
    objects.find((one) => namespaceOf(one) === gateway.namespace && isFor(one, gateway.name)),
  ];
  let accessLogs = meshAccessLogs(mesh);
  let { reportingIntervalMs } = DEFAULT_TELEMETRY.metrics;
  let overrides: readonly MetricOverride[] = [];
  for (const spec of levels.map((object) => fieldsOf(object?.spec))) {
    const logging = listOf(spec.accessLogging);
    if (logging.length > 0) accessLogs = logging.flatMap((one) => providedLogs(one, mesh));
    for (const one of listOf(spec.metrics)) {
      overrides = [...overrides, ...listOf(one.overrides).flatMap(toOverride)];
      reportingIntervalMs = istioDurationMs(textOf(one.reportingInterval)) || reportingIntervalMs;
    }
  }
  return {
    ...DEFAULT_TELEMETRY,
    accessLogs,
    metrics: { ...DEFAULT_TELEMETRY.metrics, overrides, reportingIntervalMs },
  };
}

function isWide({ spec }: TelemetryObject): boolean {
  return spec?.selector === undefined && targetRefsOf((spec ?? {}) as never).length === 0;
}

function isFor({ spec }: TelemetryObject, gateway: string): boolean {
  return targetRefsOf((spec ?? {}) as never).some(({ kind, name }) => kind === 'Gateway' && name === gateway);
}

function fileLog(
  provider: string,
  path: string,
  format: Pick<AccessLog, 'format' | 'textFormat' | 'jsonFields'>,
): AccessLog {
  return { provider, kind: 'FILE', path, filter: '', ...format };
}

function meshAccessLogs(mesh: Fields): readonly AccessLog[] {
  const path = textOf(mesh.accessLogFile);
  if (path === '') return [];
  const format = mesh.accessLogEncoding === 'JSON' ? 'JSON' : 'TEXT';
  return [fileLog('envoy', path, { format, textFormat: '', jsonFields: {} })];
}

/** The built-in provider `envoy`, or a file provider of the mesh configuration. */
function providedLogs(logging: Fields, mesh: Fields): readonly AccessLog[] {
  if (logging.disabled === true) return [];
  const names = listOf(logging.providers).map(({ name }) => textOf(name));
  return (names.length > 0 ? names : ['envoy']).flatMap((name): readonly AccessLog[] => {
    const own = listOf(mesh.extensionProviders).find((one) => one.name === name);
    const file = own ? own.envoyFileAccessLog : name === 'envoy' ? {} : undefined;
    if (file === undefined) return [];
    const { path, logFormat } = fieldsOf(file);
    const { labels } = fieldsOf(logFormat);
    const isJson = labels !== undefined || (name === 'envoy' && mesh.accessLogEncoding === 'JSON');
    const jsonFields = Object.fromEntries(Object.entries(fieldsOf(labels)).map(([key, value]) => [key, String(value)]));
    return [
      fileLog(name, textOf(path, '/dev/stdout'), { format: isJson ? 'JSON' : 'TEXT', textFormat: '', jsonFields }),
    ];
  });
}

/** Those for clients alone are not a waypoint's: it reports once, for both. */
function toOverride(override: Fields): readonly MetricOverride[] {
  const match = fieldsOf(override.match);
  const tags = Object.entries(fieldsOf(override.tagOverrides)).map(([name, tag]) => ({
    name,
    operation: fieldsOf(tag).operation === 'REMOVE' ? ('REMOVE' as const) : ('UPSERT' as const),
    value: textOf(fieldsOf(tag).value),
  }));
  return [{ metric: textOf(match.metric, 'ALL_METRICS'), disabled: override.disabled === true, tags }];
}

/** What of a Telemetry takes effect at gateways, and what does not. */
export function telemetryStatus(object: TelemetryObject): StatusPatch {
  const spec = fieldsOf(object.spec);
  const without: string[] = [];
  if (spec.tracing !== undefined) without.push('tracing');
  if (spec.selector !== undefined) without.push('selector');
  if (targetRefsOf(spec as never).some(({ kind }) => kind !== 'Gateway'))
    without.push('targetRefs of other kinds than Gateway');
  if (listOf(spec.accessLogging).some(({ filter }) => filter !== undefined)) without.push('accessLogging.filter');
  const tags = listOf(spec.metrics).flatMap((one) =>
    listOf(one.overrides).flatMap((own) => toOverride(own)[0]?.tags ?? []),
  );
  if (tags.some(({ operation, value }) => operation === 'UPSERT' && value !== '' && !/^(".*"|'.*')$/.test(value))) {
    without.push('expressions of tagOverrides');
  }
  const condition = without.length === 0 ? SERVED : { ...SERVED, reason: 'PartiallyServed' };
  const message = without.length === 0 ? condition.message : `${condition.message}, except: ${without.join(', ')}`;
  return {
    kind: { group: 'telemetry.istio.io', kind: 'Telemetry' },
    key: { namespace: namespaceOf(object), name: object.metadata.name },
    conditions: [{ ...condition, status: without.length === 0 ? 'True' : 'False', message }],
  };
}

const SERVED: ConditionValue = {
  type: 'culvert.dev/Served',
  status: 'True',
  reason: 'Accepted',
  message: 'in effect at waypoints',
};
