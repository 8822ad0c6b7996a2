/** Calls the CNI executable as a container runtime does, with a run directory and an agent of the test's own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

export const PLUGIN = new URL('../../native/cni-plugin/build/istio-cni', import.meta.url).pathname;
export const VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];
export const PREV_RESULT = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/pod' }],
  ips: [
    { interface: 0, address: '10.244.1.7/24', gateway: '10.244.1.1' },
    { address: 'fd00:0:0::7/64', gateway: 'fd00::1' },
  ],
  dns: { nameservers: ['10.96.0.10'] },
};

/** A run directory with or without a server on the agent's socket. */
export class RunDir implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), 'cvt-cni-'));
  readonly #servers: net.Server[] = [];

  get socket(): string {
    return join(this.path, 'pluginevent.sock');
  }

  async serve(server: net.Server): Promise<void> {
    this.#servers.push(server);
    server.listen(this.socket);
    await once(server, 'listening');
  }

  /** An agent that answers every request so; returns the bodies it was sent. */
  async agent(status: number, text = ''): Promise<{ url: string | undefined; body: unknown }[]> {
    const requests: { url: string | undefined; body: unknown }[] = [];
    await this.serve(
      http.createServer(async (request, response) => {
        let body = '';
        for await (const chunk of request) body += chunk;
        requests.push({ url: `${request.method} ${request.url}`, body: JSON.parse(body) });
        response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
      }),
    );
    return requests;
  }

  /** An agent that speaks exactly these bytes once a request has begun, then closes or stays silent. */
  async raw(bytes: string, then: 'close' | 'hang' | 'reset'): Promise<void> {
    await this.serve(
      net.createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => {
          if (then === 'reset') return socket.destroy();
          socket.write(bytes);
          return then === 'close' ? socket.end() : undefined;
        });
      }),
    );
  }

  log(): string {
    return readFileSync(join(this.path, 'istio-cni.log'), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server.close();
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface Outcome {
  readonly exit: number | null;
  readonly stdout: string;
  readonly json: Record<string, unknown>;
}

export type Environment = Record<string, string | undefined>;

export const environment = (verb: string, more: Environment = {}): Environment => ({
  CNI_COMMAND: verb,
  CNI_CONTAINERID: '8f3c',
  CNI_NETNS: '/run/netns/pod',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-1;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=8f3c',
  ...more,
});

export const config = (runDir: string, more: Record<string, unknown> = {}): string =>
  JSON.stringify({
    cniVersion: '1.1.0',
    name: 'k8s-pod-network',
    type: 'istio-cni',
    cni_agent_run_dir: runDir,
    ambient_enabled: true,
    exclude_namespaces: ['kube-system', 'quiet'],
    pod_namespace: 'istio-system',
    prevResult: PREV_RESULT,
    ...more,
  });

export async function call(stdin: string, env: Environment): Promise<Outcome> {
  const child = spawn(PLUGIN, { env: env as NodeJS.ProcessEnv, stdio: ['pipe', 'pipe', 'pipe'], timeout: 40_000 });
  child.stdin.on('error', () => undefined); // it may refuse before it has read everything
  child.stdin.end(stdin);
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  const [exit] = await once(child, 'close');
  return { exit, stdout, json: stdout === '' ? {} : JSON.parse(stdout) };
}

export function refused(t: ExecutionContext, outcome: Outcome, code: number, text: RegExp): void {
  t.is(outcome.exit, 1, outcome.stdout);
  t.is(outcome.json.code, code, outcome.stdout);
  t.regex(`${outcome.json.msg}: ${outcome.json.details}`, text);
  t.true(VERSIONS.includes(String(outcome.json.cniVersion)));
}
