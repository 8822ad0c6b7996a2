/**
 * The filters in the order in which a request meets them; an answer meets them from the last to the first.
 * Source: the order of a waypoint's chain in Istio.
 */
import type { FilterFactory } from './filter.ts';
import { forwardedHeaders } from './forwarded-headers.ts';
import { headerModifiers } from './header-modifiers.ts';
import { rewrite } from './rewrite.ts';

export const FILTERS: readonly FilterFactory[] = [
  // First: removes what a client must not claim, so that nobody after it is deceived; adds what all others may log.
  forwardedHeaders,
  // Last before the router, rewrite first: everything above judges the request as it was sent.
  rewrite,
  headerModifiers,
];
