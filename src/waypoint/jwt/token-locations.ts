/** Where a request carries its tokens, and how they are taken out of it. Source: Istio RequestAuthentication. */
import type { JwtRule } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';

export interface FoundToken {
  readonly token: string;
  /** Takes it out of the request. */
  readonly remove: (exchange: Carrier) => void;
}

export type Carrier = Pick<Exchange, 'headers' | 'query'>;

const BEARER = [{ name: 'authorization', prefix: 'Bearer ' }] as const;
const ACCESS_TOKEN = ['access_token'] as const;

/** In the order headers, parameters, cookies. */
export function findTokens(carrier: Carrier, rule: JwtRule): readonly FoundToken[] {
  const { fromHeaders, fromParams, fromCookies } = rule;
  const isDefault = fromHeaders.length + fromParams.length + fromCookies.length === 0;
  const found: FoundToken[] = [];
  for (const { name, prefix } of isDefault ? BEARER : fromHeaders) {
    const value = carrier.headers.get(name);
    if (value === undefined || !value.startsWith(prefix)) continue;
    const token = value.slice(prefix.length).trim();
    if (token !== '') found.push({ token, remove: ({ headers }) => headers.delete(name) });
  }
  for (const name of isDefault ? ACCESS_TOKEN : fromParams) {
    if (carrier.query === '') break;
    const token = new URLSearchParams(carrier.query).get(name);
    if (token) found.push({ token, remove: (one) => removeParam(one, name) });
  }
  for (const name of fromCookies) {
    const token = cookiesOf(carrier.headers.get('cookie')).find((one) => one.name === name)?.value;
    if (token) found.push({ token, remove: (one) => removeCookie(one, name) });
  }
  return found;
}

function removeParam(carrier: Carrier, name: string): void {
  const kept = carrier.query
    .slice(1)
    .split('&')
    .filter((pair) => pair !== name && !pair.startsWith(`${name}=`));
  carrier.query = kept.length > 0 ? `?${kept.join('&')}` : '';
}

function removeCookie({ headers }: Carrier, name: string): void {
  const kept = cookiesOf(headers.get('cookie')).filter((one) => one.name !== name);
  headers.delete('cookie');
  if (kept.length > 0) headers.append('cookie', kept.map((one) => `${one.name}=${one.value}`).join('; '));
}

function cookiesOf(header: string | undefined): readonly { readonly name: string; readonly value: string }[] {
  return (header ?? '').split(';').flatMap((pair) => {
    const equals = pair.indexOf('=');
    return equals < 0 ? [] : [{ name: pair.slice(0, equals).trim(), value: pair.slice(equals + 1).trim() }];
  });
}
