import test from 'ava';
import { workload } from '../../../test/support/mesh-objects.ts';
import { type LogSink, LogWriter } from '../../core/log-writer.ts';
import { metricsContentType, newMetricsRegistry, renderMetrics } from '../../core/metrics.ts';
import type { ConnectionRecord } from '../connection-record.ts';
import { ConnectionTable } from '../connection-table.ts';
import { AccessLog } from './access-log.ts';
import { TrafficMetrics } from './traffic-metrics.ts';
import { TrafficTelemetry } from './traffic-telemetry.ts';

const NOW_US = Date.UTC(2026, 10, 21, 3, 41, 33, 417) * 1_000 + 778;
const front = workload({ name: 'front', namespace: 'shop', canonicalRevision: 'latest' });
const cart = workload({
  name: 'cart-v1-674f49cf-tcc6j',
  namespace: 'shop',
  serviceAccount: 'cart',
  canonicalName: 'cart',
  workloadName: 'cart-v1',
});
const record: ConnectionRecord = {
  owner: 'u',
  direction: 'outbound',
  source: { address: { ip: '10.244.1.5', port: 36_346 }, workload: front, described: undefined, identity: front },
  destination: { address: { ip: '10.244.2.6', port: 15_008 }, workload: cart, described: undefined, identity: cart },
  hboneAddress: '10.244.2.6:8080',
  service: { hostname: 'cart.shop.svc.cluster.local', name: 'cart', namespace: 'shop' },
  protocol: 'HBONE',
  originalDestination: '10.96.133.192:80',
  actualDestination: '10.244.2.6:15008',
};

function telemetry() {
  const lines: string[] = [];
  const sink: LogSink = { write: (line) => void lines.push(line), flush() {}, pendingBytes: 0 };
  const { logger } = new LogWriter({ format: 'plain', filter: 'info', sink, nowUs: () => NOW_US });
  const registry = newMetricsRegistry();
  const traffic = new TrafficTelemetry(new AccessLog(logger), new TrafficMetrics(registry));
  return { lines, registry, traffic, table: new ConnectionTable(traffic) };
}

/** Recorded from the reference tunnel. */
const SERIES =
  'reporter="source",source_workload="front",source_canonical_service="front",source_canonical_revision="latest",source_workload_namespace="shop",source_principal="spiffe://cluster.local/ns/shop/sa/front",source_app="front",source_version="latest",source_cluster="Kubernetes",destination_service="cart.shop.svc.cluster.local",destination_service_namespace="shop",destination_service_name="cart",destination_workload="cart-v1",destination_canonical_service="cart",destination_canonical_revision="v1",destination_workload_namespace="shop",destination_principal="spiffe://cluster.local/ns/shop/sa/cart",destination_app="cart",destination_version="v1",destination_cluster="Kubernetes",request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls",source_region="unknown",source_zone="unknown",destination_region="unknown",destination_zone="unknown"';

test('a connection gives the recorded access log line and metrics', async (t) => {
  const { lines, registry, table } = telemetry();
  table.begin(1, { record });
  table.progress(1, 70, 1_000);
  t.is(table.size, 1);
  table.end(1, { bytesReceived: 77, bytesSent: 1_091, durationMs: 4.2, flag: '-' });
  t.deepEqual(lines, [
    '2026-11-21T03:41:33.417778Z\tinfo\taccess\tconnection complete\tsrc.addr=10.244.1.5:36346 src.workload="front" src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/front" src.cluster="Kubernetes" dst.addr=10.244.2.6:15008 dst.hbone_addr=10.244.2.6:8080 dst.service="cart.shop.svc.cluster.local" dst.workload="cart-v1-674f49cf-tcc6j" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/cart" dst.cluster="Kubernetes" direction="outbound" bytes_sent=77 bytes_recv=1091 duration="4ms"\n',
  ]);
  const text = await registry.metrics();
  for (const [name, value] of [
    ['connections_opened', 1],
    ['connections_closed', 1],
    ['received_bytes', 77],
    ['sent_bytes', 1_091],
  ] as const) {
    t.true(text.includes(`\nistio_tcp_${name}_total{${SERIES}} ${value}\n`), name);
  }
  t.false(text.includes('istio_tcp_connections_failed_total{'));
});

test('the reporting side decides what sent means', (t) => {
  const { lines, table } = telemetry();
  table.begin(1, { record: { ...record, direction: 'inbound' } });
  table.end(1, { bytesReceived: 77, bytesSent: 1_091, durationMs: 0, flag: '-' });
  t.true(lines[0]?.includes('direction="inbound" bytes_sent=1091 bytes_recv=77'));
});

test('a failed connection is an error with its flag in closed and failed', async (t) => {
  const { lines, registry, table } = telemetry();
  table.begin(1, { record });
  table.end(1, {
    bytesReceived: 0,
    bytesSent: 0,
    durationMs: 0,
    flag: 'CONNECT',
    error: 'http status: 401 Unauthorized',
  });
  t.true(lines[0]?.includes('\terror\taccess\t') && lines[0].endsWith('error="http status: 401 Unauthorized"\n'));
  const text = await registry.metrics();
  t.regex(text, /istio_tcp_connections_opened_total\{.*response_flags="-"/);
  t.regex(text, /istio_tcp_connections_closed_total\{.*response_flags="CONNECT"/);
  t.regex(text, /istio_tcp_connections_failed_total\{.*response_flags="CONNECT"/);
});

test('what was refused early is a warning and counts nowhere but in its own counter', async (t) => {
  const { lines, registry, traffic } = telemetry();
  const source = { ip: '10.244.1.5', port: 58_618 };
  traffic.refuse({
    kind: 'outbound',
    source,
    destination: { ip: '10.96.178.20', port: 80 },
    error: 'unknown "waypoint"',
    reason: 'NO_ROUTE',
  });
  t.is(
    lines[0],
    '2026-11-21T03:41:33.417778Z\twarn\taccess\tconnection failed\tsrc.addr=10.244.1.5:58618 dst.addr=10.96.178.20:80 direction="outbound" error="unknown \\"waypoint\\""\n',
  );
  const text = await registry.metrics();
  t.false(/istio_tcp_connections_\w+_total\{/.test(text));
  t.regex(text, /culvert_connections_refused_total\{reporter="source",reason="NO_ROUTE"\} 1/);
});

test('without any workload the locality labels are absent', async (t) => {
  const { registry, table } = telemetry();
  const bare = { address: { ip: '1.2.3.4', port: 5 }, workload: undefined, described: undefined, identity: undefined };
  table.begin(1, { record: { ...record, source: bare, destination: bare } });
  t.false((await registry.metrics()).includes('source_region'));
});

test('a connection behind a gateway is counted under what its answer says', async (t) => {
  const { registry, table } = telemetry();
  const described = {
    clusterId: 'c2',
    namespace: 'far',
    workloadName: 'w',
    canonicalName: 's',
    canonicalRevision: undefined,
    region: undefined,
    zone: undefined,
  };
  const complete = (headers: Readonly<Record<string, string>> | undefined): ConnectionRecord => ({
    ...record,
    destination: {
      ...record.destination,
      workload: undefined,
      described: headers?.baggage === 'x' ? described : undefined,
    },
  });
  table.begin(1, { record, complete });
  table.progress(1, 5, 5);
  table.end(1, { bytesReceived: 7, bytesSent: 9, durationMs: 0, flag: '-', responseHeaders: { baggage: 'x' } });
  const text = await registry.metrics();
  t.regex(
    text,
    /received_bytes_total\{.*destination_workload="w",destination_canonical_service="s",destination_canonical_revision="unknown".*\} 7/,
  );
});

test('metrics are plain by default, OpenMetrics when asked for, and compressed when taken', async (t) => {
  t.is(metricsContentType(undefined), 'text/plain; charset=utf-8');
  t.is(metricsContentType('application/json'), 'text/plain; charset=utf-8');
  t.is(
    metricsContentType('text/plain;q=0.5, Application/OpenMetrics-Text; version=0.0.1'),
    'application/openmetrics-text;charset=utf-8;version=1.0.0',
  );
  const { headers, body } = await renderMetrics(newMetricsRegistry(), undefined, 'br, gzip;q=1');
  t.is(headers['content-encoding'], 'gzip');
  t.is(body.readUInt16BE(0), 0x1f8b);
});
