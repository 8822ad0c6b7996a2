/** Messages of rate limit services. Source: Envoy envoy.service.ratelimit.v3. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { type HeaderValue, RateLimitRequestSchema, RateLimitResponseSchema } from '../../gen/rate-limit-service_pb.js';

export const SHOULD_RATE_LIMIT_PATH = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';
const OVER_LIMIT = 2;

export interface DescriptorEntry {
  readonly key: string;
  readonly value: string;
}

export interface LimitAnswer {
  readonly isOver: boolean;
  /** Of the descriptor that is nearest to its limit; undefined when the service says none. */
  readonly nearest: { readonly limit: number; readonly remaining: number; readonly resetMs: number } | undefined;
  readonly responseHeaders: readonly { readonly name: string; readonly value: string }[];
  readonly requestHeaders: readonly { readonly name: string; readonly value: string }[];
  readonly body: string;
}

export function encodeLimitRequest(domain: string, entries: readonly DescriptorEntry[]): Uint8Array {
  const descriptors = [{ entries: entries.map((entry) => ({ ...entry })) }];
  return toBinary(RateLimitRequestSchema, create(RateLimitRequestSchema, { domain, descriptors, hitsAddend: 1 }));
}

/** Throws ERR_MALFORMED. */
export function decodeLimitResponse(bytes: Uint8Array): LimitAnswer {
  try {
    const message = fromBinary(RateLimitResponseSchema, bytes);
    const [nearest] = message.statuses
      .flatMap(({ currentLimit, limitRemaining, durationUntilReset }) => {
        if (!currentLimit) return [];
        const { seconds = 0n, nanos = 0 } = durationUntilReset ?? {};
        const resetMs = Number(seconds) * 1_000 + nanos / 1e6;
        return [{ limit: currentLimit.requestsPerUnit, remaining: limitRemaining, resetMs }];
      })
      .sort((a, b) => a.remaining - b.remaining);
    return {
      isOver: message.overallCode === OVER_LIMIT,
      nearest,
      responseHeaders: toHeaders(message.responseHeadersToAdd),
      requestHeaders: toHeaders(message.requestHeadersToAdd),
      body: Buffer.from(message.rawBody).toString(),
    };
  } catch (error) {
    throw new MeshError('ERR_MALFORMED', `answer of the rate limit service: ${errorMessage(error)}`);
  }
}

function toHeaders(headers: readonly HeaderValue[]) {
  return headers.flatMap(({ key, value, rawValue }) => {
    if (key === '' || key.startsWith(':')) return [];
    return [{ name: key.toLowerCase(), value: value || Buffer.from(rawValue).toString('latin1') }];
  });
}
