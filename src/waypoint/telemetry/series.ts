/**
 * Counters and histograms that cost a request a few additions: a series is looked up once for each combination of labels
 * and then counts in plain numbers; text is made when somebody reads. They stand in a registry of prom-client like its own
 * metrics, which hash all labels for every observation.
 */
import type { Metric, MetricValueWithName } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';

export type SeriesLabels = Readonly<Record<string, string>>;

interface Described {
  readonly name: string;
  readonly help: string;
}

/** Series of one metric by their labels. */
class SeriesSet<S> {
  readonly #byLabels = new Map<string, { readonly labels: SeriesLabels; readonly series: S }>();
  readonly #make: () => S;

  constructor(make: () => S) {
    this.#make = make;
  }

  get(labels: SeriesLabels): S {
    const key = JSON.stringify(labels);
    const known = this.#byLabels.get(key);
    if (known) return known.series;
    const series = this.#make();
    this.#byLabels.set(key, { labels, series });
    return series;
  }

  [Symbol.iterator]() {
    return this.#byLabels.values();
  }
}

export class HistogramSeries {
  readonly bounds: readonly number[];
  /** One more than bounds: what is above all of them. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const { bounds } = this;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at += 1;
    this.counts[at] = (this.counts[at] as number) + 1;
    this.sum += value;
    this.count += 1;
  }
}

/** `of` answers the series of these labels, always the same one. */
export interface SeriesMetric<S> {
  of(labels: SeriesLabels): S;
}

export function histogramMetric(
  { name, help }: Described,
  bounds: readonly number[],
  registry: MetricsRegistry,
): SeriesMetric<HistogramSeries> {
  const set = new SeriesSet(() => new HistogramSeries(bounds));
  register(registry, { name, help, type: 'histogram' }, () => {
    const values: MetricValueWithName<string>[] = [];
    for (const { labels, series } of set) values.push(...histogramValues(name, labels, series));
    return values;
  });
  return { of: (labels) => set.get(labels) };
}

function histogramValues(name: string, labels: SeriesLabels, series: HistogramSeries): MetricValueWithName<string>[] {
  let below = 0;
  const buckets = series.bounds.map((le, index) => {
    below += series.counts[index] ?? 0;
    return { labels: { ...labels, le }, value: below, metricName: `${name}_bucket` };
  });
  return [
    ...buckets,
    { labels: { ...labels, le: '+Inf' }, value: series.count, metricName: `${name}_bucket` },
    { labels: { ...labels }, value: series.sum, metricName: `${name}_sum` },
    { labels: { ...labels }, value: series.count, metricName: `${name}_count` },
  ];
}

function register(
  registry: MetricsRegistry,
  described: Described & { readonly type: 'histogram' },
  values: () => MetricValueWithName<string>[],
): void {
  const get = async () => ({ ...described, aggregator: 'sum', values: values() });
  // the registry asks a metric for its name and its values, and nothing else
  registry.registerMetric({ ...described, get } as unknown as Metric<string>);
}
