/** What a verified token says. */
export interface JwtFacts {
  readonly issuer: string;
  readonly subject: string;
  readonly audiences: readonly string[];
  /** `azp`. */
  readonly presenter: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Claims whose text is a list with spaces between. */
  readonly spaceDelimited: readonly string[];
}

/** The claim at a path; texts of a list, or the words of a delimited text. */
export function claimTexts({ claims, spaceDelimited }: JwtFacts, path: readonly string[]): readonly string[] {
  let value: unknown = claims;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return [];
    value = (value as Readonly<Record<string, unknown>>)[step];
  }
  if (Array.isArray(value)) return value.flatMap((one) => textOf(one) ?? []);
  const text = textOf(value);
  if (text === undefined) return [];
  const isDelimited = path.length === 1 && (path[0] === 'scope' || path[0] === 'permission');
  if (isDelimited || spaceDelimited.includes(path.join('.'))) return [text, ...text.split(' ').filter(Boolean)];
  return [text];
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}
