/**
 * Client side of a gRPC server: address, server-auth TLS, bearer token and headers.
 *
 * Invariants
 *  - Never in clear: an address with another scheme than https is refused.
 *  - The token file is read for every call, the root file for every channel: both are rotated under us.
 *  - A server is accepted by its address' host name or IP, or by the alternative name when one is given.
 */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { type ChannelOptions, Client, credentials, Metadata } from '@grpc/grpc-js';
import { MeshError } from './errors.ts';

/** Text that is in a file, or at hand. */
export type TextSource = { readonly file: string } | { readonly text: string };

export interface GrpcEndpoint {
  /** `https://host:port`, or the same without a scheme. */
  readonly address: string;
  /** PEM roots; undefined: those of the system. */
  readonly roots: TextSource | undefined;
  /** Another DNS name that the server may show. */
  readonly alternativeHostname?: string;
  /** Bearer token; undefined: no authentication. */
  readonly token: TextSource | undefined;
  /** Sent with every call. */
  readonly headers: Readonly<Record<string, string>>;
}

const DEFAULT_HTTPS_PORT = 443;
/** 200 MiB: the first answer describes a whole cluster. */
const MAX_RECEIVE_BYTES = 200 * 1024 * 1024;
/**
 * A snapshot of a large mesh has megabytes: it should not take a round trip for every 64 KiB. A server keeps about as
 * much memory for each connection as this window is large: hence not more.
 */
const FLOW_CONTROL_WINDOW = 256 * 1024;
const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
  'grpc.enable_retries': 0,
  // no TXT query for settings: nobody gives any, and an unanswered one would hold up the end of the program
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  // Reconnecting is decided by the caller; the channel's own wait would only hide it.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1_000,
};

/** A channel's client; the caller closes it. Rejects with ERR_CONFIG when address or roots cannot be used. */
export async function openGrpcClient(endpoint: GrpcEndpoint): Promise<Client> {
  const target = parseGrpcAddress(endpoint.address);
  const roots = endpoint.roots === undefined ? null : Buffer.from(await readText(endpoint.roots, 'root certificates'));
  const { alternativeHostname } = endpoint;
  const host = new URL(`https://${target}`).hostname.replace(/^\[|\]$/g, '');
  const tls = credentials.createSsl(roots, null, null, {
    checkServerIdentity(_serverName: string, certificate: PeerCertificate) {
      const error = checkServerIdentity(host, certificate);
      if (error === undefined || alternativeHostname === undefined) return error;
      return checkServerIdentity(alternativeHostname, certificate);
    },
  });
  // RFC 6066 section 3 allows no IP address as server name; the check above goes by `host` all the same.
  const serverName = isIP(host) === 0 ? {} : { 'grpc.ssl_target_name_override': alternativeHostname ?? 'localhost' };
  return new Client(target, tls, { ...CHANNEL_OPTIONS, ...serverName });
}

/** Metadata of one call. Rejects with ERR_CONFIG when the token cannot be read. */
export async function callMetadata({ token, headers }: GrpcEndpoint): Promise<Metadata> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name.toLowerCase(), value);
  if (token !== undefined) metadata.set('authorization', `Bearer ${(await readText(token, 'token')).trim()}`);
  return metadata;
}

/** The text itself, from its file when it is in one. Rejects with ERR_CONFIG. */
export async function readText(source: TextSource, what: string): Promise<string> {
  if ('text' in source) return source.text;
  try {
    return await readFile(source.file, 'utf8');
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `cannot read the ${what} from ${source.file}`, { cause });
  }
}

/** `host:port` of an address. Throws ERR_CONFIG. */
export function parseGrpcAddress(address: string): string {
  const text = address.includes('://') ? address : `https://${address}`;
  if (!URL.canParse(text)) throw new MeshError('ERR_CONFIG', `invalid server address ${address}`);
  const url = new URL(text);
  if (url.protocol !== 'https:')
    throw new MeshError('ERR_CONFIG', `server address ${address}: only https is supported`);
  return `${url.hostname}:${url.port || DEFAULT_HTTPS_PORT}`;
}
