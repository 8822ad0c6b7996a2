/** CUSTOM policies of the gateway and the service: the providers that match are asked before anything else is decided. */
import type { Exchange } from '../http/exchange.ts';
import type { CheckedHeader } from '../policy/authorization-codec.ts';
import { ADDED_RESPONSE_HEADERS } from '../policy/external-authorizer.ts';
import { askProviders } from '../policy/guard.ts';
import { requestOf } from '../policy/policy-request.ts';
import { PolicySet } from '../policy/policy-set.ts';
import type { FilterFactory } from './filter.ts';

export const externalAuthorization: FilterFactory = {
  name: 'external authorization',
  compile({ gateway, service, port, config, deps }) {
    const keys = [...gateway.policies, ...service.policies].filter(
      (key) => config.findAuthorization(key)?.action === 'CUSTOM',
    );
    const set = PolicySet.of(keys, (key) => config.findAuthorization(key), deps.log);
    const usesProviders = set !== undefined || gateway.authorizationProviders.length > 0;
    if (!usesProviders) return undefined;
    const guard = { ...deps.guard, providers: gateway.authorizationProviders };
    return {
      request(exchange) {
        if (!set) return undefined;
        const at = { ip: exchange.client.destinationIp, port: port.port };
        return askProviders(set, requestOf(exchange, gateway.trustedProxies, at), { exchange, deps: guard });
      },
      response: addHeaders,
    };
  },
};

function addHeaders({ metadata, responseHeaders }: Exchange): void {
  const added = metadata.get(ADDED_RESPONSE_HEADERS) as readonly CheckedHeader[] | undefined; // written by the authorizer
  if (!added || !responseHeaders) return;
  for (const { name, value } of added) responseHeaders.set(name, value);
}
