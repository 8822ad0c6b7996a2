/**
 * Changes of the Telemetry API to standard metrics: a metric that is off, a label that is left out or has a fixed text.
 * Source: Istio Telemetry (MetricsOverrides). A text is a literal in quotes; other expressions leave the label as it is.
 */
import type { MetricOverride } from '../../model/l7/index.ts';

/** Undefined: the metric is off. */
export function overridden(
  metric: string,
  labels: Readonly<Record<string, string>>,
  overrides: readonly MetricOverride[],
): Record<string, string> | undefined {
  let result: Record<string, string> = { ...labels };
  let disabled = false;
  for (const override of overrides) {
    if (override.metric !== metric && override.metric !== 'ALL_METRICS') continue;
    disabled = override.disabled;
    for (const { name, operation, value } of override.tags) {
      if (!(name in result)) continue;
      const { [name]: before, ...rest } = result;
      const literal = /^(?:"([^"]*)"|'([^']*)')$/.exec(value);
      if (operation === 'REMOVE') result = rest;
      else result = { ...rest, [name]: literal ? (literal[1] ?? literal[2] ?? '') : (before ?? '') };
    }
  }
  return disabled ? undefined : result;
}
