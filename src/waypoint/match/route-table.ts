/**
 * Virtual hosts compiled: which route a request takes. The host that fits longest is chosen, hosts for the client's own
 * namespace before those for everybody; within it the first route in order that matches.
 */
import type { HttpMatch, HttpRoute, VirtualHost } from '../../model/l7/index.ts';
import type { HeaderList } from '../http/header-list.ts';
import { PathIndex } from './path-index.ts';
import { compileNamed, compileText, type NamedPredicate, type TextPredicate } from './text-matcher.ts';

/** What a route is chosen by. */
export interface RoutedRequest {
  readonly method: string;
  readonly path: string;
  /** With its `?`. */
  readonly query: string;
  /** As sent, with a port if there was one. */
  readonly authority: string;
  readonly scheme: string;
  readonly headers: HeaderList;
  readonly clientNamespace: string;
}

export class RouteTable {
  readonly #hosts: readonly CompiledHost[];

  /** Throws ERR_MALFORMED for an expression that cannot be used. */
  constructor(hosts: readonly VirtualHost[]) {
    this.#hosts = hosts.map((host) => new CompiledHost(host));
  }

  find(request: RoutedRequest): HttpRoute | undefined {
    const [only] = this.#hosts;
    if (this.#hosts.length === 1 && only?.isForAll) return only.find(request);
    const host = hostOf(request.authority);
    let best: CompiledHost | undefined;
    let bestFit = -1;
    for (const one of this.#hosts) {
      const fit = one.fit(host, request.clientNamespace);
      if (fit > bestFit) {
        best = one;
        bestFit = fit;
      }
    }
    return best?.find(request);
  }
}

/** More than any name is long, so that hosts for the client's namespace go before all others. */
const OWN_NAMESPACE = 1_000_000;

class CompiledHost {
  readonly isForAll: boolean;
  readonly #host: VirtualHost;
  readonly #paths = new PathIndex();
  readonly #rest: readonly RestPredicate[];

  constructor(host: VirtualHost) {
    this.#host = host;
    this.isForAll = host.hosts.includes('*') && host.clientNamespaces.length === 0;
    host.routes.forEach(({ match }, index) => {
      this.#paths.add(index, match.path);
    });
    this.#rest = host.routes.map(({ match }) => compileRest(match));
  }

  /** How well it fits, -1 for not at all. */
  fit(host: string, clientNamespace: string): number {
    const { clientNamespaces, hosts } = this.#host;
    if (clientNamespaces.length > 0 && !clientNamespaces.includes(clientNamespace)) return -1;
    let best = -1;
    for (const pattern of hosts) best = Math.max(best, hostFit(pattern, host));
    return best < 0 ? -1 : best + (clientNamespaces.length > 0 ? OWN_NAMESPACE : 0);
  }

  find(request: RoutedRequest): HttpRoute | undefined {
    const index = this.#paths.firstMatch(request.path, (route) => {
      const predicate = this.#rest[route];
      return predicate === undefined || predicate(request);
    });
    return index < 0 ? undefined : this.#host.routes[index];
  }
}

/** 0 for `*`, more for longer wildcards, most for the name itself; -1 when it does not fit. */
export function hostFit(pattern: string, host: string): number {
  if (pattern === '*') return 0;
  if (pattern.startsWith('*')) {
    const suffix = pattern.slice(1);
    return host.length > suffix.length && host.endsWith(suffix) ? suffix.length : -1;
  }
  return pattern === host ? host.length * 2 : -1;
}

/** The name of an authority in lower case, without port. */
export function hostOf(authority: string): string {
  const text = authority.toLowerCase();
  if (text.startsWith('[')) return text.slice(1, text.indexOf(']'));
  const colon = text.lastIndexOf(':');
  return colon < 0 ? text : text.slice(0, colon);
}

type RestPredicate = ((request: RoutedRequest) => boolean) | undefined;

/** Everything but the path; undefined when there is nothing else to ask. */
function compileRest({ method, authority, scheme, headers, query, clientNamespace }: HttpMatch): RestPredicate {
  const tests: ((request: RoutedRequest) => boolean)[] = [];
  const text = (predicate: TextPredicate, of: (request: RoutedRequest) => string): void => {
    tests.push((request) => predicate(of(request)));
  };
  if (method) text(compileText(method), (request) => request.method);
  if (authority) text(compileText(authority), (request) => request.authority);
  if (scheme) text(compileText(scheme), (request) => request.scheme);
  for (const { name, holds } of headers.map(compileNamed)) tests.push(({ headers: given }) => holds(given.get(name)));
  if (clientNamespace !== undefined) tests.push((request) => request.clientNamespace === clientNamespace);
  if (query.length > 0) tests.push(queryTest(query.map(compileNamed)));
  if (tests.length === 0) return undefined;
  return (request) => tests.every((one) => one(request));
}

function queryTest(predicates: readonly NamedPredicate[]): (request: RoutedRequest) => boolean {
  return ({ query }) => {
    const given = new URLSearchParams(query);
    return predicates.every(({ name, holds }) => holds(given.get(name) ?? undefined));
  };
}

/** Whether one match holds; for lists that are too short for an index. Throws ERR_MALFORMED. */
export function compileMatch(match: HttpMatch): (request: RoutedRequest) => boolean {
  const index = new PathIndex();
  index.add(0, match.path);
  const rest = compileRest(match);
  return (request) => index.firstMatch(request.path, () => rest === undefined || rest(request)) === 0;
}
