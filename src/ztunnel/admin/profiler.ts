/** CPU and heap profiles of this process, in the formats of the V8 inspector (`.cpuprofile`, `.heapprofile`). */
import { Session } from 'node:inspector/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { MeshError } from '../../core/errors.ts';

let isProfilingCpu = false;
let heapSession: Session | undefined;

/** One profile at a time; rejects with ERR_LIMIT while another is taken. */
export async function profileCpu(durationMs: number, frequencyHz: number): Promise<object> {
  if (isProfilingCpu) throw new MeshError('ERR_LIMIT', 'a CPU profile is being taken already');
  isProfilingCpu = true;
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: Math.round(1_000_000 / frequencyHz) });
    await session.post('Profiler.start');
    await delay(durationMs, undefined, { ref: false });
    return (await session.post('Profiler.stop')).profile;
  } finally {
    session.disconnect();
    isProfilingCpu = false;
  }
}

export function isHeapProfiling(): boolean {
  return heapSession !== undefined;
}

export async function setHeapProfiling(isOn: boolean): Promise<void> {
  if (isOn === isHeapProfiling()) return;
  if (!isOn) {
    heapSession?.disconnect();
    heapSession = undefined;
    return;
  }
  heapSession = new Session();
  heapSession.connect();
  await heapSession.post('HeapProfiler.startSampling');
}

/** What was allocated since sampling began; begins it when it is off. */
export async function heapProfile(): Promise<object> {
  await setHeapProfiling(true);
  if (!heapSession) throw new MeshError('ERR_UNSUPPORTED', 'heap profiling was switched off meanwhile');
  return (await heapSession.post('HeapProfiler.getSamplingProfile')).profile;
}
