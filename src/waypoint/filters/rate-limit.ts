/**
 * RateLimitPolicy of the gateway, the service and the route: local buckets first, then rate limit services, so that what
 * is refused here costs nobody else anything. 429 tells when to come again.
 * Source: draft-ietf-httpapi-ratelimit-headers (x-ratelimit-*, as Envoy writes them), RFC 6585 section 4.
 */
import { errorMessage } from '../../core/errors.ts';
import type { GlobalRateLimit, RateLimit } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { HeaderList } from '../http/header-list.ts';
import type { Reply } from '../http/reply.ts';
import { compileMatch, type RoutedRequest } from '../match/route-table.ts';
import { limitEntries } from '../rate-limit/limit-keys.ts';
import {
  type DescriptorEntry,
  decodeLimitResponse,
  encodeLimitRequest,
  SHOULD_RATE_LIMIT_PATH,
} from '../rate-limit/rate-limit-codec.ts';
import type { Taken } from '../rate-limit/token-buckets.ts';
import { callUnary } from '../upstream/grpc-unary.ts';
import type { FilterDeps, FilterFactory } from './filter.ts';

interface CompiledLimit {
  readonly id: string;
  readonly limit: RateLimit;
  readonly matches: (request: RoutedRequest) => boolean;
}

interface Standing {
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

const MAX_ANSWER_BYTES = 64 * 1024;
const HEADERS = 'rate_limit.headers';
const UNKNOWN: Reply = {
  status: 429,
  body: 'rate limit policy is not known',
  flag: 'RL',
  details: 'local_rate_limited',
};

export const rateLimit: FilterFactory = {
  name: 'rate limit',
  compile({ gateway, service, port, config, deps }) {
    const everywhere = [...gateway.rateLimits, ...service.rateLimits];
    const routes = port.virtualHosts.flatMap((host) => host.routes);
    const keys = new Set([...everywhere, ...routes.flatMap((route) => route.rateLimits)]);
    if (keys.size === 0) return undefined;
    const byKey = new Map<string, readonly CompiledLimit[] | undefined>();
    for (const key of keys) byKey.set(key, compilePolicy(key, config.findRateLimit(key)?.limits));
    return {
      request(exchange) {
        const limits: CompiledLimit[] = [];
        for (const key of [...everywhere, ...(exchange.route?.rateLimits ?? [])]) {
          const found = byKey.get(key);
          if (!found) return UNKNOWN;
          for (const one of found) if (one.matches(exchange)) limits.push(one);
        }
        return limits.length === 0 ? undefined : check(exchange, limits, deps);
      },
      response({ metadata, responseHeaders }) {
        const headers = metadata.get(HEADERS) as HeaderList | undefined; // written below
        if (headers && responseHeaders) for (const [name, value] of headers) responseHeaders.set(name, value);
      },
    };
  },
};

function compilePolicy(key: string, limits: readonly RateLimit[] | undefined): readonly CompiledLimit[] | undefined {
  return limits?.map((limit, index) => ({
    id: `${key}#${index}`,
    limit,
    matches: limit.match ? compileMatch(limit.match) : () => true,
  }));
}

/** Synchronous unless a bucket is elsewhere, or a service is asked. */
function check(
  exchange: Exchange,
  limits: readonly CompiledLimit[],
  deps: FilterDeps,
): Reply | undefined | Promise<Reply | undefined> {
  const asked: { readonly global: GlobalRateLimit; readonly entries: readonly DescriptorEntry[] }[] = [];
  const pending: Promise<Reply | undefined>[] = [];
  for (const { id, limit } of limits) {
    const entries = limitEntries(limit.keys, exchange);
    if (!entries) continue;
    const { local, global } = limit;
    if (global) asked.push({ global, entries });
    if (!local) continue;
    const key = `${id} ${entries.map(({ value }) => value).join('\n')}`;
    const taken = deps.buckets.take(key, local);
    if (taken instanceof Promise) {
      pending.push(taken.then((one) => judge(exchange, one, Math.max(local.burst, 1))));
      continue;
    }
    const reply = judge(exchange, taken, Math.max(local.burst, 1));
    if (reply) return reply;
  }
  if (pending.length + asked.length === 0) return undefined;
  return askOthers(exchange, { pending, asked }, deps);
}

async function askOthers(
  exchange: Exchange,
  given: {
    readonly pending: readonly Promise<Reply | undefined>[];
    readonly asked: readonly { readonly global: GlobalRateLimit; readonly entries: readonly DescriptorEntry[] }[];
  },
  deps: FilterDeps,
): Promise<Reply | undefined> {
  const refused = (await Promise.all(given.pending)).find((reply) => reply !== undefined);
  if (refused) return refused;
  for (const { global, entries } of given.asked) {
    const reply = await askService(exchange, global, { entries, deps });
    if (reply) return reply;
  }
  return undefined;
}

function judge(exchange: Exchange, { allowed, remaining, resetMs }: Taken, limit: number): Reply | undefined {
  const headers = tell(exchange, { limit, remaining, resetMs });
  if (allowed) return undefined;
  headers.set('retry-after', String(Math.max(1, Math.ceil(resetMs / 1_000))));
  return { status: 429, body: 'local_rate_limited', flag: 'RL', details: 'local_rate_limited', headers: limited() };
}

async function askService(
  exchange: Exchange,
  global: GlobalRateLimit,
  { entries, deps }: { readonly entries: readonly DescriptorEntry[]; readonly deps: FilterDeps },
): Promise<Reply | undefined> {
  const { cluster, port, domain, timeoutMs, failOpen } = global;
  try {
    const answer = decodeLimitResponse(
      await callUnary(deps.call, {
        cluster,
        port,
        authority: cluster.slice(cluster.indexOf('/') + 1),
        method: SHOULD_RATE_LIMIT_PATH,
        message: encodeLimitRequest(domain, entries),
        timeoutMs,
        maxBytes: MAX_ANSWER_BYTES,
      }),
    );
    for (const { name, value } of answer.requestHeaders) exchange.headers.set(name, value);
    const headers = answer.nearest ? tell(exchange, answer.nearest) : headersOf(exchange);
    for (const { name, value } of answer.responseHeaders) headers.set(name, value);
    if (!answer.isOver) return undefined;
    headers.set('retry-after', String(Math.max(1, Math.ceil((answer.nearest?.resetMs ?? 1_000) / 1_000))));
    return { status: 429, body: answer.body, flag: 'RL', details: 'request_rate_limited', headers: limited() };
  } catch (error) {
    deps.log.warn('rate limit service failed', { cluster, error: errorMessage(error) });
    if (failOpen) return undefined;
    return { status: 500, body: '', flag: 'RLSE', details: 'rate_limiter_error' };
  }
}

function limited(): HeaderList {
  return new HeaderList(['x-envoy-ratelimited', 'true']);
}

function headersOf({ metadata }: Exchange): HeaderList {
  const known = metadata.get(HEADERS) as HeaderList | undefined; // written here
  if (known) return known;
  const headers = new HeaderList();
  metadata.set(HEADERS, headers);
  return headers;
}

/** Of several limits the one with the least left is told. */
function tell(exchange: Exchange, { limit, remaining, resetMs }: Standing): HeaderList {
  const headers = headersOf(exchange);
  const told = headers.get('x-ratelimit-remaining');
  if (told !== undefined && Number(told) <= remaining) return headers;
  headers.set('x-ratelimit-limit', String(limit));
  headers.set('x-ratelimit-remaining', String(remaining));
  headers.set('x-ratelimit-reset', String(Math.ceil(resetMs / 1_000)));
  return headers;
}
