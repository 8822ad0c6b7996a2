/**
 * The path of a request, normalised once: policy judges, routes match and the endpoint gets the same text.
 * Source: RFC 3986 section 6.2.2 (dot segments, unreserved characters), Istio `pathNormalization` (BASE and beyond).
 */
import type { GatewayConfig } from '../../model/l7/index.ts';

export interface RequestPath {
  /** Without query and fragment. */
  readonly path: string;
  /** With its `?`; empty without one. */
  readonly query: string;
}

export type Normalization = GatewayConfig['pathNormalization'];

/** Undefined for a target that is no path. An absolute target (`http://host/path`) gives its path. */
export function parseRequestPath(target: string, normalization: Normalization): RequestPath | undefined {
  let text = target;
  if (!text.startsWith('/')) {
    if (text === '*') return { path: '*', query: '' };
    const absolute = /^https?:\/\/[^/?#]*/i.exec(text);
    if (!absolute) return undefined;
    text = text.slice(absolute[0].length);
    if (!text.startsWith('/')) text = `/${text}`;
  }
  const fragment = text.indexOf('#');
  if (fragment >= 0) text = text.slice(0, fragment);
  const mark = text.indexOf('?');
  const raw = mark < 0 ? text : text.slice(0, mark);
  return { path: normalizePath(raw, normalization), query: mark < 0 ? '' : text.slice(mark) };
}

/** What has to be looked at closer: escapes, backslashes, dot segments, empty segments. */
const SUSPECT = /[%\\]|\/\.|\/\//;

export function normalizePath(path: string, normalization: Normalization): string {
  if (normalization === 'NONE' || !SUSPECT.test(path)) return path;
  let text = path.replaceAll('\\', '/').replace(/%5c/gi, normalization === 'DECODE_AND_MERGE_SLASHES' ? '/' : '$&');
  if (normalization === 'DECODE_AND_MERGE_SLASHES') text = text.replace(/%2f/gi, '/');
  text = text.replace(/%([0-9a-f]{2})/gi, (triple, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9._~-]/.test(char) ? char : triple.toUpperCase();
  });
  text = removeDotSegments(text);
  return normalization === 'BASE' ? text : text.replace(/\/{2,}/g, '/');
}

/** RFC 3986 section 5.2.4, for an absolute path. */
function removeDotSegments(path: string): string {
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
    if (isLast && (segment === '.' || segment === '..')) kept.push('');
  }
  return `/${kept.join('/')}`;
}
