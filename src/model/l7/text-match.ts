/** How a text is compared: the vocabulary that routes, policies and filters share. Readonly data; the waypoint compiles it. */

/** `PRESENCE` holds for any text that is there and not empty. A `REGEX` is RE2 and must match the whole text. */
export type TextMatchKind = 'EXACT' | 'PREFIX' | 'SUFFIX' | 'CONTAINS' | 'REGEX' | 'PRESENCE';

export interface TextMatch {
  readonly kind: TextMatchKind;
  /** Empty for `PRESENCE`. */
  readonly value: string;
  readonly ignoreCase: boolean;
}

/** A named text of a request (header, query parameter, cookie). Several values of a header are joined with `,`. */
export interface NamedMatch {
  /** Lower-case for headers. */
  readonly name: string;
  readonly match: TextMatch;
  /** Holds when `match` does not; a text that is absent does not match. */
  readonly invert: boolean;
}
