/** What the tunnels of all nodes have counted, and what they log. */
import type { Kubernetes, PodObject } from './kubernetes.ts';
import { isReady } from './kubernetes.ts';

export const SYSTEM = 'istio-system';
const STATS_PORT = 15_020;

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Counters of traffic with these labels, added up. */
export type Counts = (name: string, labels: Readonly<Record<string, string>>) => number;

/** The ready tunnel pods, one a node. */
export async function tunnelPods(cluster: Kubernetes): Promise<readonly PodObject[]> {
  return (await cluster.pods(SYSTEM, 'app=ztunnel')).filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);
}

/** Reads the metrics of every tunnel, or of the one on `node`. */
export async function readCounts(cluster: Kubernetes, node?: string): Promise<Counts> {
  const pods = (await tunnelPods(cluster)).filter(({ spec }) => node === undefined || spec.nodeName === node);
  const texts = await Promise.all(pods.map(({ metadata }) => scrape(cluster, metadata.name, STATS_PORT)));
  const samples = texts.flatMap(parseSamples);
  return (name, labels) =>
    samples
      .filter((sample) => sample.name === name && hasAll(sample.labels, labels))
      .reduce((sum, { value }) => sum + value, 0);
}

/** The text of `/metrics` of a pod of the mesh. */
export async function scrape(cluster: Kubernetes, pod: string, port: number, path = '/metrics'): Promise<string> {
  await using forward = await cluster.forward(SYSTEM, pod, port);
  const answer = await fetch(`http://127.0.0.1:${forward.port}${path}`, { signal: AbortSignal.timeout(30_000) });
  return await answer.text();
}

/** Prometheus text format, without escapes inside of values. */
export function parseSamples(text: string): readonly Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)/i.exec(line) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [key, text] as const);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}

function hasAll(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}
