/**
 * Asks an external authorization service about a request, by gRPC (envoy.service.auth.v3) or HTTP.
 *
 * A service that does not answer, answers with a fault of its own or with too much is an error: then the request is
 * denied with the provider's status, or goes on where the provider is open on failure.
 * Source: Istio extension providers, Envoy ext_authz.
 */
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { type Identity, identityUri } from '../../model/identity.ts';
import type { AuthorizationProvider, TextMatch } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { HeaderList } from '../http/header-list.ts';
import type { Reply } from '../http/reply.ts';
import { compileText } from '../match/text-matcher.ts';
import { callUnary } from '../upstream/grpc-unary.ts';
import type { CallService } from '../upstream/service-caller.ts';
import { CHECK_PATH, type CheckAnswer, type CheckedHeader, decodeCheck, encodeCheck } from './authorization-codec.ts';

/** An answer that says more is an error; nothing is ever decompressed. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** What the filter puts on the answer to the client. */
export const ADDED_RESPONSE_HEADERS = 'ext_authz.response_headers';

export interface ExternalAuthorizer {
  /** Undefined: allowed; the exchange's headers are changed as the service says. Never rejects. */
  check(provider: AuthorizationProvider, exchange: Exchange): Promise<Reply | undefined>;
}

export class ServiceAuthorizer implements ExternalAuthorizer {
  readonly #call: CallService;
  readonly #identity: Identity;
  readonly #log: Logger;

  constructor(deps: { readonly call: CallService; readonly identity: Identity; readonly log: Logger }) {
    this.#call = deps.call;
    this.#identity = deps.identity;
    this.#log = deps.log;
  }

  async check(provider: AuthorizationProvider, exchange: Exchange): Promise<Reply | undefined> {
    try {
      const answer =
        provider.kind === 'GRPC' ? await this.#askGrpc(provider, exchange) : await this.#askHttp(provider, exchange);
      return answer.allowed ? admit(exchange, answer) : refuse(answer);
    } catch (error) {
      this.#log.warn('authorization service failed', { provider: provider.name, error: errorMessage(error) });
      if (provider.failOpen) return undefined;
      return { status: provider.statusOnError || 403, body: '', flag: 'UAEX', details: 'ext_authz_error' };
    }
  }

  async #askGrpc(provider: AuthorizationProvider, exchange: Exchange): Promise<CheckAnswer> {
    const { client, headers } = exchange;
    const message = encodeCheck({
      source: { ip: client.ip, port: client.port, principal: identityUri(client.identity) },
      destination: { ip: client.destinationIp, port: client.destinationPort, principal: identityUri(this.#identity) },
      id: headers.get('x-request-id') ?? '',
      method: exchange.method,
      headers: {
        ...Object.fromEntries([...headers].map(([name]) => [name, headers.get(name) ?? ''])),
        ':method': exchange.method,
        ':path': exchange.path + exchange.query,
        ':authority': exchange.requestAuthority,
        ':scheme': exchange.scheme,
      },
      path: exchange.path + exchange.query,
      host: exchange.requestAuthority,
      scheme: exchange.scheme,
      protocol: exchange.downstream.protocol,
      contextExtensions: {},
    });
    const { cluster, port, timeoutMs } = provider;
    const authority = authorityOf(provider);
    const call = { cluster, port, authority, method: CHECK_PATH, message, timeoutMs, maxBytes: MAX_ANSWER_BYTES };
    return decodeCheck(await callUnary(this.#call, call));
  }

  async #askHttp(provider: AuthorizationProvider, exchange: Exchange): Promise<CheckAnswer> {
    const { cluster, port, timeoutMs, pathPrefix, additionalHeaders } = provider;
    const included = compileAny(provider.includeRequestHeaders);
    const headers = new HeaderList();
    for (const [name, value] of exchange.headers) {
      if (name === 'authorization' || included(name)) headers.append(name, value);
    }
    for (const { name, value } of additionalHeaders) headers.set(name.toLowerCase(), value);
    headers.delete('transfer-encoding');
    headers.delete('accept-encoding');
    headers.set('content-length', '0');
    const answer = await this.#call({
      cluster,
      port,
      timeoutMs,
      protocol: 'HTTP1',
      method: exchange.method,
      target: pathPrefix + exchange.path + exchange.query,
      authority: exchange.requestAuthority,
      headers,
      body: undefined,
      maxBytes: MAX_ANSWER_BYTES,
    });
    if (answer.status >= 500) throw new Error(`status ${answer.status}`);
    const allowed = answer.status === 200;
    const pick = (matches: readonly TextMatch[]): readonly CheckedHeader[] => {
      const holds = compileAny(matches);
      const kept = [...answer.headers].filter(([name]) => holds(name));
      return kept.map(([name, value]) => ({ name, value, append: false }));
    };
    const denyHeaders = provider.headersDownstreamOnDeny.length > 0 ? provider.headersDownstreamOnDeny : ANY;
    return {
      allowed,
      status: answer.status,
      headers: pick(allowed ? provider.headersUpstreamOnAllow : denyHeaders),
      body: allowed ? '' : answer.body.toString(),
      headersToRemove: [],
      responseHeaders: allowed ? pick(provider.headersDownstreamOnAllow) : [],
    };
  }
}

const ANY: readonly TextMatch[] = [{ kind: 'PRESENCE', value: '', ignoreCase: false }];
/** These say how the answer was sent to us. */
const NOT_PASSED_ON: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'content-encoding',
  'date',
  'keep-alive',
  'transfer-encoding',
]);

function compileAny(matches: readonly TextMatch[]): (name: string) => boolean {
  const predicates = matches.map(compileText);
  return (name) => predicates.some((holds) => holds(name));
}

function authorityOf({ cluster }: AuthorizationProvider): string {
  return cluster.slice(cluster.indexOf('/') + 1);
}

function admit(exchange: Exchange, answer: CheckAnswer): undefined {
  for (const name of answer.headersToRemove) exchange.headers.delete(name);
  for (const { name, value, append } of answer.headers) {
    if (append) exchange.headers.append(name, value);
    else exchange.headers.set(name, value);
  }
  if (answer.responseHeaders.length > 0) exchange.metadata.set(ADDED_RESPONSE_HEADERS, answer.responseHeaders);
  return undefined;
}

function refuse({ status, headers, body }: CheckAnswer): Reply {
  const kept = new HeaderList();
  for (const { name, value } of headers) if (!NOT_PASSED_ON.has(name)) kept.append(name, value);
  const code = status >= 200 && status <= 599 ? status : 403;
  return { status: code, body, headers: kept, flag: 'UAEX', details: 'ext_authz_denied' };
}
