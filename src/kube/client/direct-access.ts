/**
 * The usual ways to an API server, without the client library, which costs 85 MB of memory: the account of a pod, and a
 * kubeconfig whose user has a token or a client certificate. Everything else (plugins, proxies, impersonation) is left
 * to the library.
 *
 * Invariants
 *  - Connections are kept and shared by all calls.
 *  - Token files are read again at least every `TOKEN_AGE_MS`: Kubernetes replaces them.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Agent, type Dispatcher } from 'undici';
import { parse } from 'yaml';
import { errorMessage, MeshError } from '../../core/errors.ts';

export interface DirectAccess {
  readonly server: string;
  readonly dispatcher: Dispatcher;
  /** The Authorization header; undefined: none is needed. */
  authorization(): Promise<string | undefined>;
}

type Fields = Readonly<Record<string, unknown>>;

const TOKEN_AGE_MS = 60_000;
const KEEP_ALIVE_MS = 30_000;
const CLUSTER_FIELDS = new Set([
  ...['server', 'certificate-authority', 'certificate-authority-data', 'tls-server-name', 'insecure-skip-tls-verify'],
  ...['extensions', 'disable-compression'],
]);
const USER_FIELDS = new Set([
  ...['token', 'tokenFile', 'client-certificate', 'client-certificate-data', 'client-key', 'client-key-data'],
  'extensions',
]);

/** What Kubernetes gives every pod: address, roots, token. Rejects with ERR_CONFIG. */
export async function podAccess(host: string, port: string, accountDir: string): Promise<DirectAccess> {
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return direct(server, { ca: await text(`${accountDir}/ca.crt`) }, tokenFrom(`${accountDir}/token`));
}

/** Undefined when the file asks for more than this knows. Rejects with ERR_CONFIG when it cannot be read. */
export async function kubeconfigAccess(file: string): Promise<DirectAccess | undefined> {
  let config: Fields;
  try {
    config = asFields(parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `cannot use the kubeconfig ${file}: ${errorMessage(cause)}`, { cause });
  }
  const context = named(config.contexts, config['current-context'], 'context');
  const cluster = named(config.clusters, context?.cluster, 'cluster');
  const user = named(config.users, context?.user, 'user');
  if (!cluster || !user || typeof cluster.server !== 'string') return undefined;
  if (!Object.keys(cluster).every((key) => CLUSTER_FIELDS.has(key))) return undefined;
  if (!Object.keys(user).every((key) => USER_FIELDS.has(key))) return undefined;
  const material = async (fields: Fields, name: string): Promise<string | undefined> => {
    const data = fields[`${name}-data`];
    if (typeof data === 'string') return Buffer.from(data, 'base64').toString('utf8');
    const path = fields[name];
    return typeof path === 'string' ? text(resolve(dirname(file), path)) : undefined;
  };
  const tls = {
    ca: await material(cluster, 'certificate-authority'),
    cert: await material(user, 'client-certificate'),
    key: await material(user, 'client-key'),
    servername: typeof cluster['tls-server-name'] === 'string' ? cluster['tls-server-name'] : undefined,
    rejectUnauthorized: cluster['insecure-skip-tls-verify'] === true ? false : undefined,
  };
  const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  const { token, tokenFile } = user;
  if (typeof tokenFile === 'string') return direct(cluster.server, given, tokenFrom(resolve(dirname(file), tokenFile)));
  return direct(cluster.server, given, async () => (typeof token === 'string' ? `Bearer ${token}` : undefined));
}

function direct(server: string, connect: Fields, authorization: DirectAccess['authorization']): DirectAccess {
  const options = { ...connect, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  const dispatcher = new Agent({ connect: options, keepAliveTimeout: KEEP_ALIVE_MS });
  return { server: server.replace(/\/+$/, ''), dispatcher, authorization };
}

function tokenFrom(file: string): DirectAccess['authorization'] {
  let kept: { readonly header: string; readonly untilMs: number } | undefined;
  return async () => {
    const nowMs = performance.now();
    if (!kept || nowMs >= kept.untilMs) {
      kept = { header: `Bearer ${(await text(file)).trim()}`, untilMs: nowMs + TOKEN_AGE_MS };
    }
    return kept.header;
  };
}

async function text(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `cannot read ${file}: ${errorMessage(cause)}`, { cause });
  }
}

function named(list: unknown, name: unknown, field: string): Fields | undefined {
  if (!Array.isArray(list)) return undefined;
  const found = list.map(asFields).find((one) => one.name === name);
  return found && asFields(found[field]);
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}
