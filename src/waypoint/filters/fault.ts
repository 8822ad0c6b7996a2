/**
 * Faults that routes inject to try out clients: delays, and answers instead of the endpoint's. A delay comes first.
 * Source: Istio HTTPFaultInjection, Envoy fault filter (flags and details).
 */
import type { Fault } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Reply } from '../http/reply.ts';
import type { FilterFactory } from './filter.ts';

export const fault: FilterFactory = {
  name: 'fault',
  compile({ port, deps }) {
    if (!port.virtualHosts.some(({ routes }) => routes.some((route) => route.fault))) return undefined;
    const happens = (percent: number): boolean => percent > 0 && deps.random() * 100 < percent;
    return {
      request(exchange) {
        const given = exchange.route?.fault;
        if (!given) return undefined;
        const { delay } = given;
        const abort = given.abort && happens(given.abort.percent) ? abortReply(given.abort) : undefined;
        if (!delay || !happens(delay.percent)) return abort;
        return delayed(exchange, delay.delayMs).then(() => {
          exchange.flag = 'DI';
          return abort ? { ...abort, flag: `DI,${abort.flag}` } : undefined;
        });
      },
    };
  },
};

function abortReply({ httpStatus, grpcStatus }: NonNullable<Fault['abort']>): Reply {
  const body = 'fault filter abort';
  const reply = { status: httpStatus, body, flag: 'FI', details: 'fault_filter_abort' };
  return grpcStatus === undefined ? reply : { ...reply, grpcStatus };
}

/** Ends early when the client goes. */
function delayed({ downstream }: Exchange, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    downstream.onAbort(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
