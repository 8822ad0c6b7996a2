/** Header modifiers of rules and backends. Source: Gateway API (HTTPHeaderFilter), Istio control plane (values refused). */
import type { HeaderModifier } from '../../../model/l7/index.ts';
import type { RouteFilter } from '../../../schema/index.ts';
import { type Checked, invalidFilter, type RouteProblem } from './route-problem.ts';

export interface HeaderFilters {
  readonly requestHeaders?: HeaderModifier;
  readonly responseHeaders?: HeaderModifier;
}

/** The header modifiers among the filters. */
export function headersOf(filters: readonly RouteFilter[]): Checked<HeaderFilters> {
  const problems: RouteProblem[] = [];
  const found = (type: string, given: RouteFilter['requestHeaderModifier']): HeaderModifier | undefined => {
    if (!given) return undefined;
    const values = [...(given.set ?? []), ...(given.add ?? [])];
    const bad = values.find(({ name, value }) => !TOKEN.test(name) || CONTROL.test(value));
    if (bad) problems.push(invalidFilter(`${type}: header ${bad.name} has a name or value that no header can have`));
    return {
      set: firstOfEach(given.set ?? []),
      add: firstOfEach(given.add ?? []),
      remove: (given.remove ?? []).map((name) => name.toLowerCase()),
    };
  };
  const request = filters.find(({ type }) => type === 'RequestHeaderModifier')?.requestHeaderModifier;
  const response = filters.find(({ type }) => type === 'ResponseHeaderModifier')?.responseHeaderModifier;
  const requestHeaders = found('RequestHeaderModifier', request);
  const responseHeaders = found('ResponseHeaderModifier', response);
  const value = { ...(requestHeaders && { requestHeaders }), ...(responseHeaders && { responseHeaders }) };
  return { value, problems };
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** Of names that differ in case only, the first counts. */
function firstOfEach(list: readonly { readonly name: string; readonly value: string }[]) {
  const seen = new Map<string, string>();
  for (const { name, value } of list) if (!seen.has(name.toLowerCase())) seen.set(name.toLowerCase(), value);
  return [...seen].map(([name, value]) => ({ name, value }));
}
