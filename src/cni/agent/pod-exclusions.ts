/**
 * What a pod's owner keeps out of the mesh, by annotation, and what that means for its security. Pure.
 * A list that cannot be read whole excludes nothing: a typing error must not open more than was meant.
 */
import type { IpRange } from '../../model/address.ts';
import { compileRange, formatIp, parseIp } from '../../model/ip.ts';
import { INBOUND_HBONE_PORT } from '../../model/ports.ts';
import type { Exclusions } from '../redirect/index.ts';

export const EXCLUDE_OUTBOUND_PORTS = 'culvert.dev/exclude-outbound-ports';
export const EXCLUDE_OUTBOUND_RANGES = 'culvert.dev/exclude-outbound-ranges';
export const EXCLUDE_INBOUND_PORTS = 'culvert.dev/exclude-inbound-ports';
/** Each entry is a rule or an element of a map in the kernel. */
export const EXCLUSIONS_MAX = 64;
const PORTS = new Set([15_001, 15_006, INBOUND_HBONE_PORT, 15_053]);

export interface ExclusionReading {
  /** Undefined when nothing is excluded. */
  readonly exclusions: Exclusions | undefined;
  readonly problems: readonly string[];
}

/** Total. */
export function readExclusions(annotations: Readonly<Record<string, string>>): ExclusionReading {
  const problems: string[] = [];
  const list = <T>(name: string, read: (text: string) => T | undefined, what: string): readonly T[] => {
    const texts = (annotations[name] ?? '')
      .split(',')
      .map((text) => text.trim())
      .filter(Boolean);
    const values = texts.map(read).filter((value) => value !== undefined);
    const fault =
      values.length < texts.length ? `not all are ${what}` : texts.length > EXCLUSIONS_MAX ? 'too many' : '';
    if (fault !== '') problems.push(`${name}: ${fault}; nothing is excluded by it`);
    return fault === '' ? values : [];
  };
  const outboundPorts = unique(list(EXCLUDE_OUTBOUND_PORTS, readPort, 'ports of applications'));
  const inboundPorts = unique(list(EXCLUDE_INBOUND_PORTS, readPort, 'ports of applications'));
  const outboundRanges = list(EXCLUDE_OUTBOUND_RANGES, readRange, 'IP addresses or ranges');
  const isEmpty = outboundPorts.length + inboundPorts.length + outboundRanges.length === 0;
  return { exclusions: isEmpty ? undefined : { outboundPorts, outboundRanges, inboundPorts }, problems };
}

/** For the pod's status: what is not protected. */
export function exclusionEffect({ outboundPorts, outboundRanges, inboundPorts }: Exclusions): string {
  const ranges = outboundRanges.map(({ ip, prefixLength }) => `${ip}/${prefixLength}`);
  return [
    ...(inboundPorts.length === 0
      ? []
      : [
          `clear text to ports ${inboundPorts.join(', ')} reaches the pod without identity: STRICT and authorization policies do not hold for it`,
        ]),
    ...(outboundPorts.length === 0
      ? []
      : [`connections to ports ${outboundPorts.join(', ')} leave in clear, without the pod's identity`]),
    ...(ranges.length === 0 ? [] : [`connections to ${ranges.join(', ')} leave in clear, without the pod's identity`]),
  ].join('; ');
}

/** The tunnel's own ports cannot be excluded. */
function readPort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 && !PORTS.has(port) ? port : undefined;
}

/** With its host bits cleared; an address is a range of one. */
function readRange(text: string): IpRange | undefined {
  const [ip = '', length, ...rest] = text.split('/');
  const parsed = parseIp(ip);
  if (parsed === undefined || rest.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length))) return undefined;
  const prefixLength = length === undefined ? (parsed.family === 4 ? 32 : 128) : Number(length);
  const compiled = compileRange({ ip, prefixLength });
  if (compiled === undefined) return undefined;
  return { ip: formatIp({ family: compiled.family, value: compiled.base << compiled.shift }), prefixLength };
}

function unique<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
