/** The retries of routes that say nothing else. Source: Istio mesh configuration (`defaultHttpRetryPolicy`). */
import type { RetryPolicy } from '../../../model/l7/index.ts';

export const MESH_RETRY: RetryPolicy = {
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
