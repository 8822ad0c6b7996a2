/** Header modifiers of routes, on requests and answers. Those of backends are the router's: it chooses the backend. */
import type { HeaderModifier } from '../../model/l7/index.ts';
import type { HeaderList } from '../http/header-list.ts';
import type { FilterFactory } from './filter.ts';

export const headerModifiers: FilterFactory = {
  name: 'header modifiers',
  compile({ port }) {
    const routes = port.virtualHosts.flatMap((host) => host.routes);
    const isUsed = routes.some(
      ({ requestHeaders, responseHeaders }) => !isEmpty(requestHeaders) || !isEmpty(responseHeaders),
    );
    if (!isUsed) return undefined;
    return {
      request({ headers, route }) {
        if (route) modifyHeaders(headers, route.requestHeaders);
        return undefined;
      },
      response({ responseHeaders, route }) {
        if (route && responseHeaders) modifyHeaders(responseHeaders, route.responseHeaders);
      },
    };
  },
};

/** Removes, sets, adds, in this order. */
export function modifyHeaders(headers: HeaderList, { remove, set, add }: HeaderModifier): void {
  for (const name of remove) headers.delete(name);
  for (const { name, value } of set) headers.set(name, value);
  for (const { name, value } of add) headers.append(name, value);
}

function isEmpty({ set, add, remove }: HeaderModifier): boolean {
  return set.length + add.length + remove.length === 0;
}
