/**
 * AuthorizationPolicy of the gateway and the service. Those that select the chosen endpoint are asked by the router, which
 * is the first to know it.
 */
import { decide } from '../policy/guard.ts';
import { requestOf } from '../policy/policy-request.ts';
import { PolicySet } from '../policy/policy-set.ts';
import type { FilterFactory } from './filter.ts';

export const authorization: FilterFactory = {
  name: 'authorization',
  compile({ gateway, service, port, config, deps }) {
    const keys = [...gateway.policies, ...service.policies];
    const set = PolicySet.of(keys, (key) => config.findAuthorization(key), deps.log);
    if (!set) return undefined;
    const guard = { ...deps.guard, providers: gateway.authorizationProviders };
    return {
      request(exchange) {
        const at = { ip: exchange.client.destinationIp, port: port.port };
        return decide(set, requestOf(exchange, gateway.trustedProxies, at), guard);
      },
    };
  },
};
