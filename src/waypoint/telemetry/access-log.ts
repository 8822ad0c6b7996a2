/** One line for every request, in Istio's default text format. Source: Istio access logging, Envoy format strings. */
import type { Exchange } from '../http/exchange.ts';

const NOTHING = '-';

/** `-` stands for what there is not. */
export function accessLogLine(exchange: Exchange, startedAt: Date, durationMs: number): string {
  const { headers, client, endpoint, downstream } = exchange;
  const text = (value: string | undefined): string =>
    `"${value === undefined || value === '' ? NOTHING : quotable(value)}"`;
  const serviceMs =
    exchange.respondedMs > 0 ? String(Math.round(exchange.respondedMs - exchange.upstreamStartedMs)) : NOTHING;
  const to = endpoint?.endpoint;
  const cluster = exchange.cluster === '' ? NOTHING : `inbound-vip|${exchange.clusterPort}|http|${exchange.cluster}`;
  return [
    `[${startedAt.toISOString()}]`,
    `"${quotable(exchange.method)} ${quotable(exchange.requestPath)} ${downstream.protocol === 'HTTP/2' ? 'HTTP/2' : 'HTTP/1.1'}"`,
    String(exchange.status),
    exchange.flag || NOTHING,
    exchange.details === '' ? 'via_upstream' : exchange.details.replaceAll(' ', '_'),
    NOTHING,
    '"-"',
    String(exchange.bytesReceived),
    String(exchange.bytesSent),
    String(Math.round(durationMs)),
    serviceMs,
    text(headers.get('x-forwarded-for')),
    text(headers.get('user-agent')),
    text(headers.get('x-request-id')),
    text(exchange.requestAuthority),
    text(to && `${to.addresses[0] ?? to.hostname}:${endpoint?.targetPort(exchange.clusterPort) ?? 0}`),
    cluster,
    NOTHING,
    `${client.destinationIp}:${client.destinationPort}`,
    `${client.ip}:${client.port}`,
    NOTHING,
    exchange.route?.name ?? NOTHING,
  ].join(' ');
}

/** No line break and no quote that a client sent gets into a line as it is. */
const UNQUOTABLE = /["\\\p{Cc}]/gu;

function quotable(value: string): string {
  return value.replace(UNQUOTABLE, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
