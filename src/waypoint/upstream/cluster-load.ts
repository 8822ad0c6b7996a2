/**
 * What is under way to one port of a cluster, and whether more may be: circuit breakers and the retry budget.
 * Source: Istio ConnectionPoolSettings, Envoy circuit breakers (0: unlimited), retry budgets.
 */
import type { TrafficPolicy } from '../../model/l7/index.ts';

export class ClusterLoad {
  requests = 0;
  retries = 0;
  connections = 0;

  /** HTTP/1 requests take a connection each; those beyond `maxConnections` wait, at most `maxPendingRequests` of them. */
  mayRequest({ connectionPool }: TrafficPolicy, isHttp1: boolean): boolean {
    const { maxRequests, maxConnections, maxPendingRequests } = connectionPool;
    if (maxRequests > 0 && this.requests >= maxRequests) return false;
    if (!isHttp1 || maxConnections === 0 || maxPendingRequests === 0) return true;
    return this.requests < maxConnections + maxPendingRequests;
  }

  mayRetry({ connectionPool, retryBudget }: TrafficPolicy): boolean {
    if (retryBudget) {
      const allowed = Math.max(retryBudget.minConcurrency, (this.requests * retryBudget.percent) / 100);
      return this.retries < allowed;
    }
    return connectionPool.maxRetries === 0 || this.retries < connectionPool.maxRetries;
  }

  mayConnect({ connectionPool }: TrafficPolicy): boolean {
    return connectionPool.maxConnections === 0 || this.connections < connectionPool.maxConnections;
  }
}
