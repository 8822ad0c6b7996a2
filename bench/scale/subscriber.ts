/**
 * A subscriber that looks at messages no closer than it must: it counts resources and answers. So the figures are the
 * control plane's, and hundreds fit into one process.
 */
import type { Client } from '@grpc/grpc-js';
import { callMetadata, openGrpcClient } from '../../src/core/grpc-endpoint.ts';
import { encodeDeltaRequest } from '../../src/xds/message-codec.ts';

const PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
const ADDRESS = 'type.googleapis.com/istio.workload.Address';
const same = (bytes: Buffer): Buffer => bytes;

export interface Seen {
  readonly name: string;
  readonly removed: boolean;
  readonly atMs: number;
}

export interface SubscriberOptions {
  readonly port: number;
  readonly roots: string;
  readonly token: string;
  readonly index: number;
  /** Called for every resource: only for one that measures. */
  readonly onResource?: (seen: Seen) => void;
}

export interface Subscriber extends Disposable {
  /** Of the first response: ms after the request, resources, bytes. */
  readonly snapshot: Promise<{ readonly ms: number; readonly resources: number; readonly bytes: number }>;
}

export async function subscribe(options: SubscriberOptions): Promise<Subscriber> {
  const { port, roots, token, index, onResource } = options;
  const endpoint = {
    ...{ address: `https://localhost:${port}`, roots: { text: roots }, token: { text: token } },
    headers: { clusterid: 'Kubernetes' },
  };
  const client: Client = await openGrpcClient(endpoint);
  const stream = client.makeBidiStreamRequest(PATH, same, same, await callMetadata(endpoint), {});
  const first = Promise.withResolvers<{ ms: number; resources: number; bytes: number }>();
  stream.on('error', (error: Error) => first.reject(error));
  const askedMs = performance.now();
  stream.on('data', (bytes: Buffer) => {
    const atMs = performance.now();
    const tell = onResource && ((name: string, removed: boolean) => onResource({ name, removed, atMs }));
    const { nonce, resources } = readResponse(bytes, tell);
    first.resolve({ ms: atMs - askedMs, resources, bytes: bytes.length });
    stream.write(encodeDeltaRequest(request({ responseNonce: nonce })));
  });
  const id = `ztunnel~10.0.0.1~ztunnel-${index}.istio-system~istio-system.svc.cluster.local`;
  const metadata = { NAMESPACE: 'istio-system', NODE_NAME: `fake-${index}`, CLUSTER_ID: 'Kubernetes' };
  stream.write(encodeDeltaRequest({ ...request({ responseNonce: '' }), node: { id, metadata } }));
  first.promise.catch(() => undefined); // whoever awaits it is told
  return { snapshot: first.promise, [Symbol.dispose]: () => client.close() };
}

function request({ responseNonce }: { readonly responseNonce: string }) {
  return {
    typeUrl: ADDRESS,
    subscribe: [],
    unsubscribe: [],
    initialVersions: new Map<string, string>(),
    responseNonce,
  };
}

/**
 * Walks over a response: resources 2, nonce 5, removed names 6; of a resource its name 3. Who asks for no names costs
 * little more than the transport.
 */
function readResponse(bytes: Buffer, tell: ((name: string, removed: boolean) => void) | undefined) {
  let nonce = '';
  let resources = 0;
  walk(bytes, (field, start, end) => {
    if (field === 5) nonce = bytes.toString('utf8', start, end);
    else if (field === 6) tell?.(bytes.toString('utf8', start, end), true);
    else if (field === 2) resources += 1;
    if (field !== 2 || !tell) return;
    const resource = bytes.subarray(start, end);
    walk(resource, (inner, from, to) => {
      if (inner === 3) tell(resource.toString('utf8', from, to), false);
    });
  });
  return { nonce, resources };
}

/** Every field of these messages is length-delimited. */
function walk(bytes: Buffer, visit: (field: number, start: number, end: number) => void): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const field = varint() >> 3;
    const length = varint();
    visit(field, at, at + length);
    at += length;
  }
}
