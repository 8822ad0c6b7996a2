/**
 * Which routes a path may take, by a trie of path segments: the cost of a lookup grows with the depth of the path, not
 * with the number of routes.
 *
 * `candidates` gives lists of route numbers, each ascending; `firstMatch` walks them together in ascending order. Between
 * them no route whose path matches is left out.
 */
import { compileRegex, type PathMatch } from '../../model/l7/index.ts';

interface Node {
  readonly children: Map<string, Node>;
  /** Routes whose whole prefix ends here. */
  readonly routes: number[];
  /** Prefixes by characters that end within the next segment. */
  readonly partial: { readonly text: string; readonly routes: number[] }[];
}

export class PathIndex {
  readonly #exact = new Map<string, number[]>();
  readonly #root: Node = newNode();
  /** Those that have to be asked one by one, and those without a path. */
  readonly #others: { readonly route: number; readonly holds: (path: string) => boolean }[] = [];
  readonly #any: number[] = [];

  /** Routes are added in ascending order. Throws ERR_MALFORMED for an expression that cannot be used. */
  add(route: number, path: PathMatch | undefined): void {
    if (path === undefined) this.#any.push(route);
    else if (path.kind === 'REGEX') {
      const expression = compileRegex(path.value, path.ignoreCase);
      this.#others.push({ route, holds: (text) => expression.test(text) });
    } else if (path.ignoreCase) this.#others.push({ route, holds: caseless(path) });
    else if (path.kind === 'EXACT') push(this.#exact, path.value, route);
    else this.#addPrefix(route, path);
  }

  /** The smallest route number whose path matches `path` and that `accepts`; -1 for none. */
  firstMatch(path: string, accepts: (route: number) => boolean): number {
    const lists = this.#candidates(path);
    if (lists.length === 1) return firstOf(lists[0] as readonly number[], accepts); // a list is there
    const positions = new Array<number>(lists.length).fill(0);
    for (;;) {
      let best = -1;
      let from = -1;
      for (let i = 0; i < lists.length; i++) {
        const value = lists[i]?.[positions[i] as number];
        if (value !== undefined && (best < 0 || value < best)) {
          best = value;
          from = i;
        }
      }
      if (best < 0) return -1;
      if (accepts(best)) return best;
      positions[from] = (positions[from] as number) + 1;
    }
  }

  #candidates(path: string): readonly number[][] {
    const lists: number[][] = [];
    if (this.#any.length > 0) lists.push(this.#any);
    const exact = this.#exact.get(path);
    if (exact) lists.push(exact);
    if (this.#others.length > 0) {
      const found = this.#others.filter(({ holds }) => holds(path)).map(({ route }) => route);
      if (found.length > 0) lists.push(found);
    }
    let node: Node | undefined = this.#root;
    let at = 1;
    for (;;) {
      if (node.routes.length > 0) lists.push(node.routes);
      if (at > path.length) return lists;
      for (const { text, routes } of node.partial) if (path.startsWith(text, at)) lists.push(routes);
      if (node.children.size === 0) return lists;
      const slash: number = path.indexOf('/', at);
      const end: number = slash < 0 ? path.length : slash;
      node = node.children.get(path.slice(at, end));
      if (!node) return lists;
      at = end + 1;
    }
  }

  #addPrefix(route: number, { kind, value }: PathMatch): void {
    const text = value.startsWith('/') ? value.slice(1) : value;
    const segments = text.split('/');
    const last = segments.pop() ?? '';
    let node = this.#root;
    for (const segment of segments) node = child(node, segment);
    if (kind === 'SEGMENTS') {
      if (last !== '') node = child(node, last);
      node.routes.push(route);
      return;
    }
    const known = node.partial.find((one) => one.text === last);
    if (known) known.routes.push(route);
    else node.partial.push({ text: last, routes: [route] });
  }
}

function newNode(): Node {
  return { children: new Map(), routes: [], partial: [] };
}

function child(node: Node, segment: string): Node {
  const known = node.children.get(segment);
  if (known) return known;
  const made = newNode();
  node.children.set(segment, made);
  return made;
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

function firstOf(list: readonly number[], accepts: (route: number) => boolean): number {
  for (const route of list) if (accepts(route)) return route;
  return -1;
}

function caseless({ kind, value }: PathMatch): (path: string) => boolean {
  const wanted = value.toLowerCase();
  if (kind === 'EXACT') return (path) => path.toLowerCase() === wanted;
  if (kind === 'PREFIX') return (path) => path.toLowerCase().startsWith(wanted);
  const bare = wanted.replace(/\/$/, '');
  return (path) => {
    const text = path.toLowerCase();
    return text === bare || text.startsWith(`${bare}/`);
  };
}
