/** Fetches a small text over HTTP(S): bounded in time and size, three redirects at most, never decompressed. */
import { Agent, request } from 'undici';
import { MeshError } from '../../core/errors.ts';

const MAX_BYTES = 1024 * 1024;
const MAX_REDIRECTS = 3;
const agent = new Agent({ connections: 4, keepAliveTimeout: 1_000 });

/** Rejects with ERR_DIAL, ERR_LIMIT or ERR_MALFORMED. */
export async function fetchText(uri: string, timeoutMs: number): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  let url = uri;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const answer = await request(url, {
      dispatcher: agent,
      signal,
      headers: { accept: 'application/json', 'accept-encoding': 'identity' },
    }).catch((cause: unknown) => {
      throw new MeshError('ERR_DIAL', `no answer from ${url}`, { cause });
    });
    const { location, 'content-encoding': coding } = answer.headers;
    if (answer.statusCode >= 300 && answer.statusCode < 400 && typeof location === 'string') {
      await answer.body.dump();
      url = new URL(location, url).href;
      continue;
    }
    if (answer.statusCode !== 200 || (coding !== undefined && coding !== 'identity')) {
      await answer.body.dump();
      throw new MeshError('ERR_MALFORMED', `${url} answers ${answer.statusCode} ${String(coding ?? '')}`);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BYTES) throw new MeshError('ERR_LIMIT', `${url} answers with more than ${MAX_BYTES} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }
  throw new MeshError('ERR_DIAL', `${uri} redirects more than ${MAX_REDIRECTS} times`);
}
