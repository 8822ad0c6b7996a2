/** The headers of a CONNECT that a decision may read, each line on its own. */
const HEADERS_READ: ReadonlySet<string> = new Set(['baggage', 'forwarded', 'traceparent', 'x-forwarded-network']);

/** @param rawHeaders names and values in turn */
export function readHeaders(rawHeaders: readonly string[]): Readonly<Record<string, readonly string[]>> {
  const read: Record<string, string[]> = {};
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (!HEADERS_READ.has(name)) continue;
    const lines = read[name];
    if (lines) lines.push(rawHeaders[i + 1] ?? '');
    else read[name] = [rawHeaders[i + 1] ?? ''];
  }
  return read;
}
