/** Captures what passes on the link between the nodes, seen from outside of both: nothing of the mesh takes part. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { MeshError } from '../core/errors.ts';
import { type ClusterPlan, netnsPath } from './cluster-plan.ts';
import { parsePcap, type TcpPacket } from './pcap.ts';
import { SYSTEM_PATH } from './process-runner.ts';

/** Enough for some seconds of a busy demo; what comes after is not kept. */
const CAPTURE_BYTES_MAX = 256 * 1024 * 1024;

/** Captures the TCP packets between pods on different nodes while `during` runs. */
export async function captureLink(plan: ClusterPlan, during: () => Promise<void>): Promise<readonly TcpPacket[]> {
  const device = plan.nodes[0]?.name ?? plan.bridge;
  const filter = `tcp and not host ${plan.gateway4} and not host ${plan.gateway6}`;
  const args = ['-i', device, '-n', '-U', '--immediate-mode', '-s', '0', '-B', '16384', '-w', '-', filter];
  const child = spawn('nsenter', [`--net=${netnsPath(plan.fabricNetns)}`, 'tcpdump', ...args], {
    env: { PATH: SYSTEM_PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'close');
  const chunks: Buffer[] = [];
  let size = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= CAPTURE_BYTES_MAX) chunks.push(chunk);
  });
  try {
    await listening(child.stderr, ended);
    await during();
  } finally {
    child.kill('SIGINT');
    await ended;
  }
  return parsePcap(Buffer.concat(chunks));
}

/** Resolves when tcpdump says that it listens. */
async function listening(stderr: NodeJS.ReadableStream, ended: Promise<unknown>): Promise<void> {
  let text = '';
  const ready = new Promise<void>((resolve) => {
    stderr.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-4_096);
      if (text.includes('listening on')) resolve();
    });
  });
  const failed = ended.then(() => {
    throw new MeshError('ERR_SYSTEM', `tcpdump ended: ${text.trim()}`);
  });
  await Promise.race([ready, failed]);
  failed.catch(() => {}); // its orderly end comes later
}
