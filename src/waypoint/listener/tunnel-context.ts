/** What is known of a tunnel: who sends in it, and what was asked for. */

import type { Downstream } from '../http/downstream.ts';
import type { ClientFacts } from '../http/exchange.ts';
import type { HeaderList } from '../http/header-list.ts';

export interface TunnelContext {
  readonly client: ClientFacts;
  /** Looks up what is bound now: a change of the configuration reaches requests on open tunnels. */
  readonly target: TunnelTarget;
}

/** What CONNECT's authority named. */
export type TunnelTarget =
  | { readonly kind: 'SERVICE'; readonly key: string; readonly port: number }
  /** A workload by its own address. */
  | { readonly kind: 'WORKLOAD'; readonly uid: string; readonly port: number };

export interface RawRequestHead {
  readonly method: string;
  /** As in the request line, or `:path`. */
  readonly target: string;
  readonly authority: string;
  /** Without `host` and pseudo headers. */
  readonly headers: HeaderList;
}

export type ServeRequest = (context: TunnelContext, downstream: Downstream, head: RawRequestHead) => void;
