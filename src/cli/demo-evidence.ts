/** What the demo reads out of captures, metrics and the tunnel's configuration dump. Pure functions over text and packets. */
import { connectionKey, type TcpPacket } from '../local/index.ts';

export const HBONE_PORT = 15_008;
/** Words that only the applications write: seen on the link, the traffic is in clear. */
const CLEAR_WORDS = ['GET /', 'HTTP/1.1', 'entry '];

export interface LinkEvidence {
  readonly packets: number;
  /** Connections with the applications' words in clear. */
  readonly clear: ReadonlySet<string>;
  /** Connections to port 15008. */
  readonly hbone: ReadonlySet<string>;
  /** Connections to port 15008 whose first bytes seen are no TLS record. */
  readonly notTls: ReadonlySet<string>;
  /** Connections that are neither. */
  readonly other: ReadonlySet<string>;
  /** Every connection that was opened meanwhile. */
  readonly opened: ReadonlySet<string>;
}

/** Sorts the connections of a capture. */
export function readLink(packets: readonly TcpPacket[]): LinkEvidence {
  const clear = new Set<string>();
  const hbone = new Set<string>();
  const notTls = new Set<string>();
  const other = new Set<string>();
  const opened = new Set<string>();
  const started = new Set<string>();
  for (const packet of packets) {
    const key = connectionKey(packet);
    if (packet.syn) opened.add(key);
    if (CLEAR_WORDS.some((word) => packet.payload.includes(word))) clear.add(key);
    if (packet.destinationPort !== HBONE_PORT && packet.sourcePort !== HBONE_PORT) {
      other.add(key);
      continue;
    }
    hbone.add(key);
    // the first data after a SYN must be a handshake record
    const client = packet.destinationPort === HBONE_PORT;
    if (client && packet.payload.length > 0 && opened.has(key) && !started.has(key)) {
      started.add(key);
      if (packet.payload[0] !== 0x16) notTls.add(key);
    }
  }
  return { packets: packets.length, clear, hbone, notTls, other, opened };
}

/** Members of `all` that are not in `known`. */
export function without(all: ReadonlySet<string>, known: ReadonlySet<string>): readonly string[] {
  return [...all].filter((key) => !known.has(key));
}

/** Sum of a Prometheus counter over the series that carry all of `labels`; 0 when there is none. */
export function sumMetric(text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}{`)) continue;
    const end = line.lastIndexOf('}');
    const series = line.slice(name.length, end);
    const matches = Object.entries(labels).every(([key, value]) => series.includes(`${key}="${value}"`));
    if (matches)
      sum += Number(
        line
          .slice(end + 1)
          .trim()
          .split(' ')[0],
      );
  }
  return sum;
}

export interface CertificateInfo {
  readonly identity: string;
  readonly validFrom: string;
  readonly expirationTime: string;
}

/** Leaf certificates in a tunnel's configuration dump. */
export function readCertificates(dump: string): readonly CertificateInfo[] {
  const { certificates = [] } = JSON.parse(dump) as {
    certificates?: readonly {
      readonly identity: string;
      readonly certChain?: readonly { readonly validFrom: string; readonly expirationTime: string }[];
    }[];
  };
  return certificates.flatMap(({ identity, certChain }) => {
    const leaf = certChain?.[0];
    return leaf ? [{ identity, validFrom: leaf.validFrom, expirationTime: leaf.expirationTime }] : [];
  });
}
