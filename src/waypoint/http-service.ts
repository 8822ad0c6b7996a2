/**
 * Serves one HTTP request: path once normalised, route found, filters passed, sent on or answered here, told to telemetry.
 */
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { DirectResponse, HttpRoute, Redirect } from '../model/l7/index.ts';
import type { Filter } from './filters/filter.ts';
import { compilePath } from './filters/rewrite.ts';
import type { Downstream } from './http/downstream.ts';
import { Exchange } from './http/exchange.ts';
import { HeaderList } from './http/header-list.ts';
import { BAD_REQUEST, type Reply, ROUTE_NOT_FOUND, replyHead } from './http/reply.ts';
import { parseRequestPath } from './http/request-path.ts';
import type { RawRequestHead, TunnelContext } from './listener/tunnel-context.ts';
import { forward, type RouterDeps } from './router.ts';
import type { CompiledPort } from './state/compiled-service.ts';

export interface HttpServiceDeps extends RouterDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Undefined when nothing (more) is bound there. */
  readonly findPort: (context: TunnelContext) => CompiledPort | undefined;
  /** Clients of that tunnel should come by another way from now on. */
  readonly isLeaving: (context: TunnelContext) => boolean;
  readonly telemetry: { done(exchange: Exchange, port: CompiledPort, nowMs: number): void };
}

export class HttpService {
  readonly #deps: HttpServiceDeps;

  constructor(deps: HttpServiceDeps) {
    this.#deps = deps;
  }

  serve(context: TunnelContext, downstream: Downstream, head: RawRequestHead): void {
    const port = this.#deps.findPort(context);
    const target = parseRequestPath(head.target, port?.gateway.pathNormalization ?? 'BASE');
    if (!port || !target || head.authority === '') {
      const { status, headers } = replyHead(port ? BAD_REQUEST : ROUTE_NOT_FOUND, false);
      downstream.sendHead(status, headers, false);
      downstream.write(Buffer.from(port ? BAD_REQUEST.body : ROUTE_NOT_FOUND.body));
      downstream.end();
      return;
    }
    if (this.#deps.isLeaving(context)) downstream.closeAfter();
    const exchange = new Exchange(downstream, context.client, { ...head, target }, this.#deps.clock.monotonicMs());
    const serving = new Serving(exchange, port, this.#deps);
    try {
      serving.start();
    } catch (error) {
      // one request that nobody foresaw must not end the others
      this.#deps.log.error('request failed', { error: errorMessage(error) });
      downstream.reset();
      serving.done();
    }
  }
}

/** One exchange on its way. */
class Serving {
  readonly #exchange: Exchange;
  readonly #port: CompiledPort;
  readonly #deps: HttpServiceDeps;
  /** Filters that saw the request see its answer. */
  #passed = 0;
  #isDone = false;

  constructor(exchange: Exchange, port: CompiledPort, deps: HttpServiceDeps) {
    this.#exchange = exchange;
    this.#port = port;
    this.#deps = deps;
  }

  start(): void {
    const exchange = this.#exchange;
    if (exchange.downstream.body) exchange.downstream.body.on('data', count(exchange)).pause();
    exchange.route = this.#port.routes.find(exchange);
    this.#pass();
  }

  /** Goes through the filters; waits only for one that asks somebody. */
  #pass(): void {
    const { filters } = this.#port;
    while (this.#passed < filters.length) {
      const filter = filters[this.#passed] as Filter; // within the list
      this.#passed += 1;
      const result = filter.request?.(this.#exchange);
      if (result === undefined) continue;
      if (!(result instanceof Promise)) {
        this.reply(result);
        return;
      }
      result.then(
        (reply) => (reply ? this.reply(reply) : this.#pass()),
        () => this.reply({ status: 500, body: '', flag: '', details: 'filter_failed' }),
      );
      return;
    }
    this.#route();
  }

  #route(): void {
    const { route } = this.#exchange;
    if (!route) {
      this.reply(ROUTE_NOT_FOUND);
      return;
    }
    if (route.action.kind === 'REDIRECT') {
      this.reply(redirectReply(this.#exchange, route, route.action.redirect));
      return;
    }
    if (route.action.kind === 'RESPOND') {
      this.#respond(route.action.response);
      return;
    }
    forward(this.#exchange, route, { deps: this.#deps, sink: this });
  }

  #respond({ status, body, contentType }: DirectResponse): void {
    const headers = new HeaderList(contentType === '' ? [] : ['content-type', contentType]);
    const text = Buffer.from(body, 'base64').toString();
    this.reply({ status, body: text, headers, flag: '', details: 'direct_response' });
  }

  head(status: number, headers: HeaderList, end: boolean): void {
    const exchange = this.#exchange;
    exchange.status = status;
    exchange.responseHeaders = headers;
    const { filters } = this.#port;
    for (let i = this.#passed - 1; i >= 0; i--) filters[i]?.response?.(exchange);
    exchange.downstream.sendHead(status, headers, end);
  }

  reply(reply: Reply): void {
    const exchange = this.#exchange;
    const { downstream } = exchange;
    exchange.flag = reply.flag;
    exchange.details = reply.details;
    const { status, headers } = replyHead(reply, exchange.isGrpc);
    if (exchange.isGrpc) exchange.grpcStatus = headers.get('grpc-status');
    const hasBody = reply.body !== '' && !exchange.isGrpc && exchange.method !== 'HEAD';
    this.head(status, headers, !hasBody);
    if (hasBody) {
      const bytes = Buffer.from(reply.body);
      exchange.bytesSent += bytes.length;
      downstream.write(bytes);
      downstream.end();
    }
    downstream.body?.resume(); // what still comes is thrown away
    this.done();
  }

  done(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    const exchange = this.#exchange;
    const { filters } = this.#port;
    for (let i = this.#passed - 1; i >= 0; i--) filters[i]?.done?.(exchange);
    this.#deps.telemetry.done(exchange, this.#port, this.#deps.clock.monotonicMs());
  }
}

function count(exchange: Exchange): (chunk: Buffer) => void {
  return (chunk) => {
    exchange.bytesReceived += chunk.length;
  };
}

/** Source: Gateway API HTTPRequestRedirectFilter. */
function redirectReply(exchange: Exchange, route: HttpRoute, redirect: Redirect): Reply {
  const scheme = redirect.scheme ?? exchange.scheme;
  const [host = '', ownPort] = splitPort(exchange.requestAuthority);
  const port = redirect.port ?? (redirect.scheme === undefined ? ownPort : undefined);
  const isDefault = port === undefined || (scheme === 'http' && port === 80) || (scheme === 'https' && port === 443);
  const path = redirect.path ? compilePath(redirect.path, route.match.path)(exchange.path) : exchange.path;
  const query = redirect.stripQuery ? '' : exchange.query;
  const location = `${scheme}://${redirect.hostname ?? host}${isDefault ? '' : `:${port}`}${path}${query}`;
  const headers = new HeaderList(['location', location]);
  return { status: redirect.status, body: '', headers, flag: '', details: 'direct_response' };
}

function splitPort(authority: string): readonly [host: string, port: number | undefined] {
  const found = /^(.*?)(?::(\d{1,5}))?$/.exec(authority);
  return [found?.[1] ?? authority, found?.[2] === undefined ? undefined : Number(found[2])];
}
