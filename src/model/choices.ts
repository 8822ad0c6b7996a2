/**
 * Every outcome of a function that draws by weight, with the probability of each: what is drawn for one connection can
 * then be drawn for the next without the function. Pure.
 */
import type { Random } from './upstream.ts';

export interface Outcome<T> {
  /** The outcomes' weights add up to 1. */
  readonly weight: number;
  readonly value: T;
}

/** One draw in a run: how many could be drawn, and which was. */
interface Draw {
  readonly weights: readonly number[];
  chosen: number;
}

/**
 * Runs `decide` once for each combination of draws. Undefined when there are more than `max` outcomes, or when `decide`
 * asks for a bare number: what depends on that cannot be listed.
 */
export function outcomesOf<T>(decide: (random: Random) => T, max: number): readonly Outcome<T>[] | undefined {
  const outcomes: Outcome<T>[] = [];
  const script: Draw[] = [];
  for (;;) {
    let depth = 0;
    let isListable = true;
    const random: Random = Object.assign(
      () => {
        isListable = false;
        return 0;
      },
      {
        pick: <I>(items: readonly I[], weight: (item: I) => number): I | undefined => {
          const drawable = items.filter((item) => weight(item) > 0);
          if (drawable.length === 0) return undefined;
          if (drawable.length > max) isListable = false;
          const draw = script[depth] ?? { weights: drawable.map(weight), chosen: 0 };
          script[depth] = draw;
          depth += 1;
          return drawable[draw.chosen];
        },
      },
    );
    const value = decide(random);
    if (!isListable || outcomes.length >= max) return undefined;
    outcomes.push({ weight: probability(script), value });
    if (!advance(script)) return outcomes;
  }
}

function probability(script: readonly Draw[]): number {
  let product = 1;
  for (const { weights, chosen } of script) {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    product *= (weights[chosen] ?? 0) / total;
  }
  return product;
}

/** The next combination: the last draw that has another item takes it, those behind it start anew. */
function advance(script: Draw[]): boolean {
  for (let last = script.pop(); last; last = script.pop()) {
    if (last.chosen + 1 >= last.weights.length) continue;
    script.push({ weights: last.weights, chosen: last.chosen + 1 });
    return true;
  }
  return false;
}
