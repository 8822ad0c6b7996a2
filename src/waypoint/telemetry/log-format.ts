/**
 * Access log formats with Envoy's operators (`%REQ(USER-AGENT)%`, `%DURATION%`, ...), compiled once. `-` stands for what
 * there is not. Nothing that a client sent breaks a line or a quoted text.
 * Source: Envoy access logging; the defaults are Istio's.
 */
import type { AccessLog } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';

export interface LoggedExchange {
  readonly exchange: Exchange;
  readonly startedAt: Date;
  readonly durationMs: number;
}

type Operator = (logged: LoggedExchange) => string | undefined;

const DEFAULT_TEXT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% ' +
  '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ' +
  '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% ' +
  '%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%';

const DEFAULT_JSON: Readonly<Record<string, string>> = {
  start_time: '%START_TIME%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  protocol: '%PROTOCOL%',
  response_code: '%RESPONSE_CODE%',
  response_flags: '%RESPONSE_FLAGS%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration: '%DURATION%',
  upstream_service_time: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  x_forwarded_for: '%REQ(X-FORWARDED-FOR)%',
  user_agent: '%REQ(USER-AGENT)%',
  request_id: '%REQ(X-REQUEST-ID)%',
  authority: '%REQ(:AUTHORITY)%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_cluster: '%UPSTREAM_CLUSTER%',
  upstream_local_address: '%UPSTREAM_LOCAL_ADDRESS%',
  downstream_local_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
  downstream_remote_address: '%DOWNSTREAM_REMOTE_ADDRESS%',
  requested_server_name: '%REQUESTED_SERVER_NAME%',
  route_name: '%ROUTE_NAME%',
};

/** These are numbers in JSON. */
const NUMBERS: ReadonlySet<string> = new Set(
  ['RESPONSE_CODE', 'BYTES_RECEIVED', 'BYTES_SENT', 'DURATION'].map((name) => `%${name}%`),
);

export type LogLine = (logged: LoggedExchange) => string;

export function compileLog({ format, textFormat, jsonFields }: AccessLog): LogLine {
  if (format === 'TEXT') return compileText(textFormat === '' ? DEFAULT_TEXT : textFormat.replace(/\n+$/, ''));
  const fields = Object.entries(Object.keys(jsonFields).length > 0 ? jsonFields : DEFAULT_JSON);
  const compiled = fields.map(([name, text]) => ({ name, isNumber: NUMBERS.has(text), parts: splitFormat(text) }));
  return (logged) => {
    const values = compiled.map(({ name, isNumber, parts }) => {
      const [only] = parts;
      const value = parts.length === 1 && typeof only === 'function' ? (only(logged) ?? null) : join(parts, logged);
      return [name, isNumber && value !== null ? Number(value) : value];
    });
    return JSON.stringify(Object.fromEntries(values));
  };
}

function compileText(format: string): LogLine {
  const parts = splitFormat(format);
  return (logged) => {
    let line = '';
    for (const part of parts) line += typeof part === 'string' ? part : quotable(part(logged) || '-');
    return line;
  };
}

function join(parts: readonly (string | Operator)[], logged: LoggedExchange): string {
  return parts.map((part) => (typeof part === 'string' ? part : part(logged) || '-')).join('');
}

/** No line break and no quote that a client sent gets into a line as it is. */
const UNQUOTABLE = /["\\\p{Cc}]/gu;

function quotable(value: string): string {
  return value.replace(UNQUOTABLE, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Texts and operators in turn; an operator that nobody knows stands for nothing. */
function splitFormat(format: string): readonly (string | Operator)[] {
  const parts: (string | Operator)[] = [];
  let end = 0;
  for (const found of format.matchAll(/%([A-Z_]+)(?:\(([^)]*)\))?(?::\d+)?%/g)) {
    if (found.index > end) parts.push(format.slice(end, found.index));
    parts.push(operatorOf(found[1] ?? '', found[2] ?? ''));
    end = found.index + found[0].length;
  }
  if (end < format.length) parts.push(format.slice(end));
  return parts;
}

function operatorOf(name: string, argument: string): Operator {
  if (name === 'REQ' || name === 'RESP') {
    const names = argument.toLowerCase().split('?');
    const of = name === 'REQ' ? requestHeader : responseHeader;
    return (logged) => {
      for (const one of names) {
        const value = of(logged.exchange, one);
        if (value !== undefined && value !== '') return value;
      }
      return undefined;
    };
  }
  return OPERATORS[name] ?? (() => undefined);
}

function requestHeader(exchange: Exchange, name: string): string | undefined {
  switch (name) {
    case ':method':
      return exchange.method;
    case ':path':
      return exchange.requestPath;
    case ':authority':
      return exchange.requestAuthority;
    case 'x-envoy-original-path':
      return undefined; // `:path` is the path as it was sent
    default:
      return exchange.headers.get(name);
  }
}

function responseHeader(exchange: Exchange, name: string): string | undefined {
  return exchange.responseHeaders?.get(name);
}

const OPERATORS: Readonly<Record<string, Operator>> = {
  START_TIME: ({ startedAt }) => startedAt.toISOString(),
  PROTOCOL: ({ exchange }) => (exchange.downstream.protocol === 'HTTP/2' ? 'HTTP/2' : 'HTTP/1.1'),
  RESPONSE_CODE: ({ exchange }) => String(exchange.status),
  RESPONSE_FLAGS: ({ exchange }) => exchange.flag,
  RESPONSE_CODE_DETAILS: ({ exchange }) => (exchange.details || 'via_upstream').replaceAll(' ', '_'),
  BYTES_RECEIVED: ({ exchange }) => String(exchange.bytesReceived),
  BYTES_SENT: ({ exchange }) => String(exchange.bytesSent),
  DURATION: ({ durationMs }) => String(Math.round(durationMs)),
  UPSTREAM_HOST: ({ exchange: { endpoint, clusterPort } }) => {
    const to = endpoint?.endpoint;
    return to && `${to.addresses[0] ?? to.hostname}:${endpoint.targetPort(clusterPort) ?? 0}`;
  },
  UPSTREAM_CLUSTER: ({ exchange: { cluster, clusterPort } }) =>
    cluster === '' ? undefined : `inbound-vip|${clusterPort}|http|${cluster}`,
  DOWNSTREAM_LOCAL_ADDRESS: ({ exchange: { client } }) => `${client.destinationIp}:${client.destinationPort}`,
  DOWNSTREAM_REMOTE_ADDRESS: ({ exchange: { client } }) => `${client.ip}:${client.port}`,
  ROUTE_NAME: ({ exchange }) => exchange.route?.name,
  GRPC_STATUS: ({ exchange }) => exchange.grpcStatus,
};
