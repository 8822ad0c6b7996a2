/** Two engines with the application behind them, and the decisions and digests that most cases use. */
import { createHash } from 'node:crypto';
import type { ForwardHbone, ForwardPlain } from '../../src/engine/index.ts';
import { identityUri } from '../../src/model/identity.ts';
import { eventually } from '../support/eventually.ts';
import type { Application } from './peers.ts';
import { CLIENT, type EngineFactory, newAuthority, type Rig, type Script, SERVER, startRig } from './rig.ts';

export const NEVER = new AbortController().signal;

export const forwardTo = (port: number): ForwardPlain => ({ action: 'forward', to: { ip: '127.0.0.1', port } });

export const tunnelTo = (port: number, expected: readonly string[] = [identityUri(SERVER)]): ForwardHbone => ({
  action: 'hbone',
  session: { identity: CLIENT, expectedIdentities: expected, peer: { ip: '127.0.0.1', port }, sourceIp: '127.0.0.1' },
  connect: { authority: '10.0.0.1:80', headers: { baggage: 'k8s.namespace.name=shop' } },
});

export interface Pair extends AsyncDisposable {
  readonly client: Rig;
  readonly server: Rig;
  /** Connect here to reach the application through both engines. */
  readonly port: number;
}

export async function startPair(
  create: EngineFactory,
  application: Pick<Application, 'port'>,
  script: Script = {},
): Promise<Pair> {
  const authority = await newAuthority();
  const server = await startRig(create, { inboundHbone: () => forwardTo(application.port), ...script }, { authority });
  const inbound = await server.listen('inbound-hbone');
  const client = await startRig(create, { outbound: () => tunnelTo(inbound.port) }, { authority });
  const outbound = await client.listen('outbound');
  return {
    client,
    server,
    port: outbound.port,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
export const soleOutcome = async (rig: Rig) => {
  await eventually(() => rig.outcomes.size === 1, 'one connection to end');
  return [...rig.outcomes.values()][0]!; // size is 1
};
