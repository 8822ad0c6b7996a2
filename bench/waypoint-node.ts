/**
 * The waypoint of the waypoint benchmark, a process of its own: told over IPC whom to be and what to serve, it says when it
 * listens. Everything of a real one is on: routes, filters, metrics and the access log, which goes nowhere.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { silentLogger } from '../src/core/logger.ts';
import { newMetricsRegistry } from '../src/core/metrics.ts';
import { systemClock } from '../src/core/system-clock.ts';
import { type TlsCredentials, TypescriptEngine } from '../src/engine/index.ts';
import { TokenBuckets, Waypoint } from '../src/waypoint/index.ts';
import type { WaypointType } from '../src/xds/index.ts';

export interface WaypointOrder {
  readonly credentials: TlsCredentials;
  readonly ip: string;
  /** Encoded resources, base64, by type: what a control plane would have sent. */
  readonly resources: readonly { readonly typeUrl: WaypointType; readonly name: string; readonly bytes: string }[];
}

const MIB = 1024 * 1024;

process.once('message', async (message) => {
  const { credentials, ip, resources } = message as WaypointOrder; // sent by waypoint.ts
  const nowhere = openSync('/dev/null', 'w');
  process.once('exit', () => closeSync(nowhere));
  const waypoint = new Waypoint(
    { identity: credentials.identity, host: ip, reusePort: false },
    {
      makeEngine: (handlers) =>
        new TypescriptEngine(handlers, {
          maxStreamsPerSession: 100,
          poolIdleTimeoutMs: 300_000,
          connectTimeoutMs: 10_000,
          streamWindowBytes: 4 * MIB,
          connectionWindowBytes: 16 * MIB,
          frameSizeBytes: MIB,
          keepalive: undefined,
          userTimeout: false,
        }),
      credentials: async () => credentials,
      registry: newMetricsRegistry(),
      clock: systemClock,
      random: Math.random,
      log: silentLogger,
      buckets: new TokenBuckets(() => systemClock.monotonicMs()),
      writeAccessLog: (line) => void writeSync(nowhere, `${line}\n`),
    },
  );
  for (const subscription of waypoint.state.subscriptions()) {
    const own = resources.filter(({ typeUrl }) => typeUrl === subscription.typeUrl);
    subscription.accept(
      own.map(({ name, typeUrl, bytes }) => ({
        name,
        typeUrl,
        version: '',
        aliases: [],
        bytes: Buffer.from(bytes, 'base64'),
      })),
      [],
    );
  }
  waypoint.state.flush();
  await waypoint.listen();
  process.send?.({ port: waypoint.port });
});
process.once('disconnect', () => process.exit(0));
