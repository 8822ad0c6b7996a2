/** One query of a pod, from bytes to bytes: resolved, forwarded or refused. Sockets are the server's. */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import { BareText, type Logger } from '../../core/logger.ts';
import type { MeshView } from '../../model/mesh-view.ts';
import type { Random } from '../../model/upstream.ts';
import type { Workload } from '../../model/workload.ts';
import type { DnsForward } from './dns-forwarder.ts';
import {
  type DnsQuery,
  encodeAnswer,
  encodeError,
  encodeForwarded,
  encodeRefusal,
  parseQuery,
  RCODE,
  readForwarded,
  TYPE_A,
  TYPE_AAAA,
} from './dns-message.ts';
import { type DnsLabels, type DnsMetrics, dnsLabels } from './dns-metrics.ts';
import { type ResolveOptions, resolveName } from './dns-resolver.ts';

export interface DnsHandlerDeps {
  readonly view: MeshView;
  /** The pod's own workload; rejects when it is unknown. */
  readonly client: () => Promise<Workload>;
  readonly forwarder: DnsForward;
  /** Search domains of a client of this namespace. */
  readonly options: (namespace: string) => ResolveOptions;
  readonly metrics: DnsMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

type Transport = 'udp' | 'tcp';

/** The answer for one message; undefined when there is nothing to answer. Never rejects. */
export async function handleDns(
  message: Buffer,
  transport: Transport,
  deps: DnsHandlerDeps,
): Promise<Buffer | undefined> {
  const parsed = parseQuery(message);
  if (parsed.kind === 'ignore') return undefined;
  if (parsed.kind === 'refuse') return encodeRefusal(parsed.id, parsed.rcode);
  const { query } = parsed;
  let client: Workload;
  try {
    client = await deps.client();
  } catch (error) {
    deps.log.warn('DNS client is unknown', { error: errorMessage(error) });
    return encodeError(query, RCODE.SERVFAIL);
  }
  const labels = dnsLabels(query.type, transport, client);
  deps.metrics.requests.inc(labels);
  const resolution = resolveName(
    deps.view,
    { name: query.name, type: query.class === 1 ? query.type : 0, client },
    deps.options(client.namespace),
    deps.random,
  );
  if (resolution.kind === 'forward') return forward({ message, query, transport, client, labels }, deps);
  const { records } = resolution;
  logQuery(deps.log, client, query, {
    domain: resolution.service,
    result: records.length > 0 ? 'success' : 'service does not support this record type',
    endpoints: records.length,
  });
  return encodeAnswer(query, records, transport);
}

interface ForwardRequest {
  readonly message: Buffer;
  readonly query: DnsQuery;
  readonly transport: Transport;
  readonly client: Workload;
  readonly labels: DnsLabels;
}

async function forward(request: ForwardRequest, deps: DnsHandlerDeps): Promise<Buffer> {
  const { message, query, transport, client, labels } = request;
  const { metrics, clock, forwarder, log } = deps;
  metrics.upstreamRequests.inc(labels);
  const startMs = clock.monotonicMs();
  try {
    const answer = await forwarder.forward(message, query, transport);
    metrics.upstreamDuration.observe(labels, (clock.monotonicMs() - startMs) / 1_000);
    const rcode = readForwarded(answer, query, answer.readUInt16BE(0))?.rcode;
    if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) throw new Error(`nameserver answered with code ${rcode}`);
    logQuery(log, client, query, { domain: undefined, result: 'forwarded', endpoints: undefined });
    return encodeForwarded(answer, query, transport);
  } catch (error) {
    metrics.upstreamFailures.inc(labels);
    const result = `forwarding failed (${errorMessage(error)})`;
    logQuery(log, client, query, { domain: undefined, result, endpoints: undefined });
    return encodeError(query, RCODE.SERVFAIL);
  }
}

function logQuery(
  log: Logger,
  client: Workload,
  query: DnsQuery,
  {
    domain,
    result,
    endpoints,
  }: { readonly domain: string | undefined; readonly result: string; readonly endpoints: number | undefined },
): void {
  if (!log.isLevelEnabled('debug')) return;
  log.debug('dns request', {
    'src.workload': client.name,
    'src.namespace': client.namespace,
    query: query.type === TYPE_A ? new BareText('A') : query.type === TYPE_AAAA ? new BareText('AAAA') : query.type,
    domain: domain ?? query.name,
    result,
    endpoints,
  });
}
