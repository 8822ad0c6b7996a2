/**
 * A filter looks at a request before it is sent on, and at the answer's head before it is sent back.
 *
 * It is compiled for every service port when the configuration changes, from what is configured there; a filter that has
 * nothing to do there is absent, and costs a request nothing.
 */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Identity } from '../../model/identity.ts';
import type { BoundPort, BoundService, GatewayConfig } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Reply } from '../http/reply.ts';
import type { KeyStore } from '../jwt/key-store.ts';
import type { GuardDeps } from '../policy/guard.ts';
import type { TokenTaker } from '../rate-limit/token-buckets.ts';
import type { ConfigView } from '../state/config-view.ts';
import type { CallService } from '../upstream/service-caller.ts';

export interface Filter {
  /** A reply ends the exchange. Synchronous unless it has to ask somebody. */
  request?(exchange: Exchange): Reply | undefined | Promise<Reply | undefined>;
  /** The head of the answer, the waypoint's own replies included; `exchange.responseHeaders` may be changed. */
  response?(exchange: Exchange): void;
  /** The exchange is over: for counters and logs. */
  done?(exchange: Exchange): void;
}

/** What a filter is compiled from. */
export interface FilterContext {
  readonly gateway: GatewayConfig;
  readonly service: BoundService;
  readonly port: BoundPort;
  readonly config: ConfigView;
  readonly deps: FilterDeps;
}

/** What filters may use at run time. */
export interface FilterDeps {
  /** The waypoint's own. */
  readonly identity: Identity;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** What policies are asked and told with; providers are the gateway's. */
  readonly guard: Omit<GuardDeps, 'providers'>;
  /** Keys that tokens are verified with. */
  readonly keys: KeyStore;
  /** Tokens of local rate limits, shared by the workers of a pod. */
  readonly buckets: TokenTaker;
  /** Calls to services on the waypoint's own account. */
  readonly call: CallService;
}

export interface FilterFactory {
  readonly name: string;
  /** Undefined: nothing to do on this port. Throws ERR_MALFORMED for a configuration that cannot be used. */
  compile(context: FilterContext): Filter | undefined;
}
