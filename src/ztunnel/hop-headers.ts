/**
 * Headers of CONNECT requests and responses that carry telemetry: `baggage`, `forwarded`, `traceparent`.
 *
 * Guarantees: building never puts a separator of the format into a value; parsing is bounded, never throws, and what it
 * returns is used for telemetry only.
 * Source: HBONE as Istio's node tunnel speaks it; W3C Trace Context for `traceparent`; RFC 7239 for `forwarded`.
 */
import { randomBytes } from 'node:crypto';
import type { IpPort } from '../model/address.ts';
import { formatIpPort } from '../model/ip.ts';
import type { Workload } from '../model/workload.ts';
import type { PeerDescription } from './connection-record.ts';

/** More is an attack: the real ones have seven entries. */
const ENTRIES_MAX = 64;
const TYPES: ReadonlySet<string> = new Set(['deployment', 'cronjob', 'pod', 'job']);

/** What is known of a workload, for the other side. */
export function toBaggage(workload: Workload): string {
  const entries: readonly (readonly [string, string])[] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType.toLowerCase()}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality.region],
    ['cloud.availability_zone', workload.locality.zone],
  ];
  return entries
    .map(([key, value]) => [key, value.replace(/[^\x21-\x7e]|[,=]/g, '')] as const)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** Every line counts; a later value replaces an earlier one, and an empty one clears it. */
export function parseBaggage(lines: readonly string[]): PeerDescription | undefined {
  const values = new Map<string, string>();
  let entries = 0;
  for (const line of lines) {
    if (/[^\x20-\x7e]/.test(line)) return undefined;
    for (const entry of line.split(',', ENTRIES_MAX)) {
      entries += 1;
      if (entries > ENTRIES_MAX) break;
      const [key = '', value = ''] = entry.split('=', 2);
      const type = /^k8s\.(\w+)\.name$/.exec(key)?.[1];
      const name = type !== undefined && TYPES.has(type) ? 'workload' : key;
      if (value === '') values.delete(name);
      else values.set(name, value);
    }
  }
  const description = {
    clusterId: values.get('k8s.cluster.name'),
    namespace: values.get('k8s.namespace.name'),
    workloadName: values.get('workload'),
    canonicalName: values.get('service.name'),
    canonicalRevision: values.get('service.version'),
    region: values.get('cloud.region'),
    zone: values.get('cloud.availability_zone'),
  };
  return Object.values(description).some((value) => value !== undefined) ? description : undefined;
}

/** `for="10.0.0.1:1234"`, and `;host=<hostname>` when the service is known. */
export function toForwarded(source: IpPort, hostname: string | undefined): string {
  return forwardedBy(formatIpPort(source), hostname);
}

/** The same for a client that is given as text. */
export function forwardedBy(client: string, hostname: string | undefined): string {
  const origin = `for="${client}"`;
  return hostname === undefined || hostname === '' ? origin : `${origin};host=${hostname}`;
}

/** The `host=` of the first line that has one. */
export function parseForwardedHost(lines: readonly string[]): string | undefined {
  for (const line of lines) {
    if (/[^\x20-\x7e]/.test(line)) continue;
    const part = line.split(';', ENTRIES_MAX).find((text) => text.trim().startsWith('host='));
    const host = part
      ?.trim()
      .slice('host='.length)
      .replace(/^"(.*)"$/, '$1');
    if (host !== undefined && host !== '') return host;
  }
  return undefined;
}

/** A new trace, one per application connection. */
export function newTraceparent(): string {
  return traceparentOf(randomBytes(16).toString('hex'), randomBytes(8).toString('hex'));
}

/** @param traceId 32 hex digits @param spanId 16 */
export function traceparentOf(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-00`;
}
