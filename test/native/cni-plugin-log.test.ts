/** Calls that the plugin refuses by itself, as the agent counts them. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { agentMetrics } from '../../src/cni/agent/agent-metrics.ts';
import { PluginLog } from '../../src/cni/agent/plugin-log.ts';
import { newMetricsRegistry } from '../../src/core/metrics.ts';
import { call, config, environment, RunDir } from './cni-call.ts';

function metricsOf(dir: RunDir) {
  const registry = newMetricsRegistry();
  const log = new PluginLog(dir.path);
  agentMetrics(registry).countRefusals(() => log.failures());
  return async () => (await registry.metrics()).match(/^culvert_cni_plugin_refused_calls_total\{.*$/gm) ?? [];
}

test.serial('a call that the plugin refuses by itself is logged and counted; a good one is not', async (t) => {
  await using dir = new RunDir();
  const refusals = metricsOf(dir);
  await dir.agent(200);
  t.is((await call(config(dir.path), environment('ADD'))).exit, 0);
  t.deepEqual(await refusals(), []); // the control: no refusal, no count
  const wrong = { CNI_NETNS: '/proc/self/ns/net' }; // known by the plugin alone: the agent is not asked
  for (let count = 1; count <= 3; count++) {
    t.is((await call(config(dir.path), environment('ADD', wrong))).exit, 1);
    const [line] = dir.log().trim().split('\n');
    const { code } = JSON.parse(line ?? '{}') as { code?: number };
    t.deepEqual(await refusals(), [`culvert_cni_plugin_refused_calls_total{code="${code}"} ${count}`]);
  }
  t.is((await metricsOf(dir)()).join().split(' ').at(-1), '3', 'an agent that starts later counts them as well');
  const path = join(dir.path, 'istio-cni.log');
  await call(config(dir.path), environment('ADD', wrong));
  renameSync(path, `${path}.1`); // as the plugin does with a full one
  await call(config(dir.path), environment('ADD', wrong));
  t.is((await refusals()).join().split(' ').at(-1), '5');
  rmSync(path);
  t.is((await refusals()).join().split(' ').at(-1), '5');
});
