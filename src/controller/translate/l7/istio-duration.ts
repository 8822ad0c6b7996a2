/** Durations as Istio writes them: `10s`, `1h30m`, `250ms`, `1.5s`. 0 for none. */
export function istioDurationMs(text: string | undefined): number {
  const units = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
  let total = 0;
  for (const [, amount, unit] of (text ?? '').matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) {
    total += Number(amount) * units[unit as keyof typeof units]; // the pattern allows these four only
  }
  return Math.round(total);
}
