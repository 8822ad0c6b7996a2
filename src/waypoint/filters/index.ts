/**
 * The filters in the order in which a request meets them; an answer meets them from the last to the first.
 * Source: the order of a waypoint's chain in Istio.
 */
import { authentication } from './authentication.ts';
import { authorization } from './authorization.ts';
import { cors } from './cors.ts';
import { externalAuthorization } from './external-authorization.ts';
import { fault } from './fault.ts';
import type { FilterFactory } from './filter.ts';
import { forwardedHeaders } from './forwarded-headers.ts';
import { headerModifiers } from './header-modifiers.ts';
import { rateLimit } from './rate-limit.ts';
import { rewrite } from './rewrite.ts';

export const FILTERS: readonly FilterFactory[] = [
  // First: removes what a client must not claim, so that nobody after it is deceived; adds what all others may log.
  forwardedHeaders,
  // Providers of CUSTOM policies may deny, or put in headers that everything after sees.
  externalAuthorization,
  // Who the request is from by its token, for the policies after.
  authentication,
  // Only what may pass is worth anything below.
  authorization,
  // Counts what is allowed only, and knows identities and claims by now.
  rateLimit,
  // Behind everything that decides who may ask: only requests that would be served are delayed, refused or answered.
  fault,
  cors,
  // Last before the router, rewrite first: everything above judges the request as it was sent.
  rewrite,
  headerModifiers,
];
