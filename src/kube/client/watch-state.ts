/**
 * What to ask the API server next: list, page by page, then watch from there; list again when the server has forgotten
 * that point. Pure.
 *
 * Invariants
 *  - A watch goes on from the newest version seen, bookmarks included; a broken connection costs no listing.
 *  - A kind is tried in all its versions before it counts as absent; an absent kind is complete and empty.
 *  - Each new request after a failure waits, longer each time.
 * Source: Kubernetes API concepts, "Efficient detection of changes".
 */

export type WatchRequest =
  | { readonly kind: 'list'; readonly continueToken: string | undefined }
  | { readonly kind: 'watch'; readonly resourceVersion: string };

export interface WatchState {
  readonly request: WatchRequest;
  /** Index in the versions of the kind. */
  readonly version: number;
  /** Requests in a row that failed. */
  readonly failures: number;
}

export type WatchInput =
  /** A page of a listing; without a token it was the last. */
  | { readonly kind: 'page'; readonly resourceVersion: string; readonly continueToken: string | undefined }
  /** An event or a bookmark of the watch. */
  | { readonly kind: 'progress'; readonly resourceVersion: string }
  /** The server ended the watch, or the connection broke, `lastedMs` after it was opened. */
  | { readonly kind: 'ended'; readonly lastedMs: number }
  /** The server no longer knows the version or the token (410). */
  | { readonly kind: 'gone' }
  /** The path does not exist (404). */
  | { readonly kind: 'absent' }
  /** Anything else. */
  | { readonly kind: 'failed' };

export interface WatchStep {
  readonly state: WatchState;
  /** Before the next request: nothing, a back-off that grows with the failures, or the slow look for an absent kind. */
  readonly wait: 'none' | 'back-off' | 'absent';
  /** What to do with the pages collected so far. */
  readonly pages: 'keep' | 'publish' | 'drop';
}

export const FIRST_STATE: WatchState = {
  request: { kind: 'list', continueToken: undefined },
  version: 0,
  failures: 0,
};

/** A watch that lasted this long was a good one. */
const GOOD_WATCH_MS = 5_000;

export function nextStep(state: WatchState, input: WatchInput, versions: number): WatchStep {
  const listAnew = { kind: 'list', continueToken: undefined } as const;
  switch (input.kind) {
    case 'page': {
      const { continueToken, resourceVersion } = input;
      if (continueToken) {
        const request = { kind: 'list', continueToken } as const;
        return { state: { ...state, request, failures: 0 }, wait: 'none', pages: 'keep' };
      }
      const request = { kind: 'watch', resourceVersion } as const;
      return { state: { ...state, request, failures: 0 }, wait: 'none', pages: 'publish' };
    }
    case 'progress': {
      const { resourceVersion } = input;
      return { state: { ...state, request: { kind: 'watch', resourceVersion } }, wait: 'none', pages: 'keep' };
    }
    case 'ended': {
      const failures = input.lastedMs >= GOOD_WATCH_MS ? 1 : state.failures + 1;
      return { state: { ...state, failures }, wait: 'back-off', pages: 'keep' };
    }
    case 'gone':
      return {
        state: { ...state, request: listAnew, failures: state.failures + 1 },
        wait: 'back-off',
        pages: 'drop',
      };
    case 'absent': {
      const version = state.version + 1;
      if (version < versions) return { state: { ...state, request: listAnew, version }, wait: 'none', pages: 'drop' };
      return { state: FIRST_STATE, wait: 'absent', pages: 'publish' };
    }
    case 'failed':
      return { state: { ...state, failures: state.failures + 1 }, wait: 'back-off', pages: 'keep' };
  }
}
