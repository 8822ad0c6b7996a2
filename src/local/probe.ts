/** Connections made from a node's namespace by the supervisor: readiness probes and questions to components. */
import http from 'node:http';
import { Socket } from 'node:net';
import { connectTcp, type Netns } from 'culvert-netns';
import { MeshError } from '../core/errors.ts';
import type { IpPort } from '../model/address.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** Connects and hangs up. Rejects when nobody accepts within `timeoutMs`. */
export async function probeTcp(netns: Netns, to: IpPort, timeoutMs: number): Promise<void> {
  const fd = await connectTcp(netns, { to, timeoutMs });
  new Socket({ fd }).on('error', () => {}).destroy();
}

export interface HttpOptions {
  readonly timeoutMs: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One HTTP request on a connection of its own. Rejects with ERR_DIAL, ERR_TIMEOUT or ERR_LIMIT. */
export async function httpRequest(netns: Netns, to: IpPort, path: string, options: HttpOptions): Promise<HttpAnswer> {
  const { timeoutMs, method = 'GET', headers = {} } = options;
  const fd = await connectTcp(netns, { to, timeoutMs });
  const socket = new Socket({ fd });
  try {
    return await new Promise((resolve, reject) => {
      const where = `${to.ip}:${to.port}${path}`;
      socket.on('error', reject);
      socket.setTimeout(timeoutMs, () => reject(new MeshError('ERR_TIMEOUT', `no answer from ${where}`)));
      const request = http.request(
        { path, method, headers: { host: to.ip, connection: 'close', ...headers }, createConnection: () => socket },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size > BODY_BYTES_MAX) reject(new MeshError('ERR_LIMIT', `${where} answered too much`));
            else chunks.push(chunk);
          });
          response.on('error', reject);
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
          );
        },
      );
      request.on('error', reject);
      request.end();
    });
  } finally {
    socket.destroy();
  }
}
