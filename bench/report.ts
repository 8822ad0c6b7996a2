/** What a run measured, as a table for people and as JSON for comparison. */

/** One figure measured twice in the same run: between the pods directly, and through the mesh. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Absent where there is nothing to compare with, such as the time to enrol a pod. */
  readonly direct?: number;
  readonly mesh: number;
  /** Whether more is better, for reading a comparison. */
  readonly better: 'more' | 'less';
}

export interface Report {
  readonly date: string;
  readonly kernel: string;
  readonly cpus: number;
  readonly figures: readonly Figure[];
}

/** A Markdown table. With a baseline there is one more column: the mesh figure against the baseline's, in per cent. */
export function formatReport(report: Report, baseline?: Report): string {
  const header = ['figure', 'unit', 'direct', 'mesh', 'mesh/direct', ...(baseline ? ['against baseline'] : [])];
  const rows = report.figures.map((figure) => [
    figure.name,
    figure.unit,
    figure.direct === undefined ? '' : formatNumber(figure.direct),
    formatNumber(figure.mesh),
    figure.direct === undefined || figure.direct === 0 ? '' : (figure.mesh / figure.direct).toFixed(2),
    ...(baseline ? [formatChange(figure, baseline)] : []),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function formatChange(figure: Figure, baseline: Report): string {
  const before = baseline.figures.find((other) => other.name === figure.name);
  if (before === undefined || before.mesh === 0) return 'new';
  const percent = (figure.mesh / before.mesh - 1) * 100;
  const worse = figure.better === 'more' ? percent < 0 : percent > 0;
  return `${percent >= 0 ? '+' : ''}${percent.toFixed(0)} %${worse ? ' (worse)' : ''}`;
}

function formatNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** The value at `fraction` (0.5, 0.99) of unsorted samples; NaN for none. */
export function percentile(samples: readonly number[], fraction: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * fraction) - 1)] ?? Number.NaN;
}
