/** Matches of VirtualService routes. Source: Istio HTTPMatchRequest. */
import type { HttpMatch, NamedMatch, PathMatch, TextMatch } from '../../../../model/l7/index.ts';
import { regexFault } from '../../../../model/l7/index.ts';
import type { StringMatchSpec, VirtualHttpMatch } from '../../../../schema/index.ts';

const PRESENT: TextMatch = { kind: 'PRESENCE', value: '', ignoreCase: false };

/** Undefined for a match of nothing, which for a header means that it is there. */
export function toTextMatch(given: StringMatchSpec | undefined, ignoreCase = false): TextMatch | undefined {
  if (given?.exact !== undefined) return { kind: 'EXACT', value: given.exact, ignoreCase };
  if (given?.prefix !== undefined) return { kind: 'PREFIX', value: given.prefix, ignoreCase };
  if (given?.regex !== undefined) return { kind: 'REGEX', value: given.regex, ignoreCase: false };
  return undefined;
}

export interface VirtualMatch {
  readonly match: HttpMatch;
  /** Undefined: every port. */
  readonly port: number | undefined;
}

/** A text: why the match cannot be honoured. */
export function translateMatch(given: VirtualHttpMatch): VirtualMatch | string {
  const fault = regexFaults(given)[0];
  if (fault !== undefined) return fault;
  if (given.sourceLabels && Object.keys(given.sourceLabels).length > 0) {
    return 'sourceLabels: labels of clients are not known at a waypoint';
  }
  if (given.gateways && given.gateways.length > 0 && !given.gateways.includes('mesh')) {
    return `gateways: ${given.gateways.join(', ')} are not the mesh`;
  }
  const { ignoreUriCase = false, headers = {}, withoutHeaders = {}, queryParams = {}, sourceNamespace } = given;
  const path = toPath(given.uri, ignoreUriCase);
  const scheme = toTextMatch(given.scheme);
  const pseudo = (name: string): TextMatch | undefined => toTextMatch(headers[name]);
  const method = toTextMatch(given.method) ?? pseudo(':method');
  const authority = toTextMatch(given.authority) ?? pseudo(':authority');
  const match: HttpMatch = {
    ...(path ? { path } : {}),
    ...(method ? { method } : {}),
    ...(authority ? { authority } : {}),
    ...(scheme ? { scheme } : {}),
    headers: [...named(headers, false), ...named(withoutHeaders, true)],
    query: named(queryParams, false),
    ...(sourceNamespace ? { clientNamespace: sourceNamespace } : {}),
  };
  return { match, port: given.port };
}

function toPath(uri: StringMatchSpec | undefined, ignoreCase: boolean): PathMatch | undefined {
  const text = toTextMatch(uri, ignoreCase);
  if (!text) return undefined;
  const kind = text.kind === 'EXACT' || text.kind === 'PREFIX' ? text.kind : 'REGEX';
  return { kind, value: text.value, ignoreCase: text.ignoreCase };
}

function named(map: Readonly<Record<string, StringMatchSpec>>, invert: boolean): readonly NamedMatch[] {
  return Object.entries(map)
    .filter(([name]) => !name.startsWith(':'))
    .map(([name, value]) => ({ name: name.toLowerCase(), match: toTextMatch(value) ?? PRESENT, invert }));
}

function regexFaults(given: VirtualHttpMatch): readonly string[] {
  const { uri, scheme, method, authority, headers = {}, withoutHeaders = {}, queryParams = {} } = given;
  const maps = [headers, withoutHeaders, queryParams].flatMap((map) => Object.values(map));
  const faults = [uri, scheme, method, authority, ...maps].map((one) =>
    one?.regex === undefined ? undefined : regexFault(one.regex),
  );
  return faults.filter((fault) => fault !== undefined);
}
