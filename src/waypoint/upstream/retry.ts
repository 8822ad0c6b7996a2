/** Whether a request is tried again. Pure. Source: Envoy `x-envoy-retry-on`, Istio's default policy. */
import type { RetryPolicy } from '../../model/l7/index.ts';
import type { UpstreamError } from './upstream-call.ts';

/** What happened to a try before anything of its answer was sent on. */
export type TryOutcome =
  | { readonly kind: 'error'; readonly error: UpstreamError; readonly replayable: boolean }
  | { readonly kind: 'status'; readonly status: number; readonly grpcStatus: string | undefined }
  | { readonly kind: 'timeout' };

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 2,
  perTryTimeoutMs: 0,
  retryOn: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
  statusCodes: [],
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  avoidPreviousHosts: true,
  remoteLocalities: false,
  hedge: false,
};

const GRPC: Readonly<Record<string, string>> = {
  '1': 'cancelled',
  '4': 'deadline-exceeded',
  '8': 'resource-exhausted',
  '13': 'internal',
  '14': 'unavailable',
};

export function isRetriable({ retryOn, statusCodes }: RetryPolicy, outcome: TryOutcome): boolean {
  const on = (word: string): boolean => retryOn.includes(word);
  switch (outcome.kind) {
    case 'error': {
      const { error, replayable } = outcome;
      if (error.failure === 'overflow') return false;
      if (error.failure === 'remote_connection_failure') {
        return on('connect-failure') || on('5xx') || on('gateway-error') || on('reset');
      }
      if (error.notSent) return on('refused-stream') || on('5xx') || on('reset');
      if (on('5xx') || on('reset') || on('reset-before-request')) return true;
      // a pooled connection that the endpoint closed as we wrote to it: safe where a second time does no harm
      return error.failure === 'connection_termination' && replayable;
    }
    case 'status': {
      const { status, grpcStatus } = outcome;
      if (statusCodes.includes(status)) return true;
      const word = grpcStatus === undefined ? undefined : GRPC[grpcStatus];
      if (word !== undefined && on(word)) return true;
      if (status >= 500 && on('5xx')) return true;
      if ((status === 502 || status === 503 || status === 504) && on('gateway-error')) return true;
      return status === 409 && on('retriable-4xx');
    }
    case 'timeout':
      return on('5xx') || on('gateway-error');
  }
}

/** Full jitter over an exponentially growing span. @param random in [0, 1) */
export function backoffMs({ backoffBaseMs, backoffMaxMs }: RetryPolicy, attempt: number, random: number): number {
  const base = backoffBaseMs || 25;
  const max = backoffMaxMs || base * 10;
  return random * Math.min(max, base * (2 ** attempt - 1));
}
