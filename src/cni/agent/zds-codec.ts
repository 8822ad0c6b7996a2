/** ZDS messages between plain data and bytes, agent's side. Source: zds.proto, package istio.workload.zds. */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../../core/errors.ts';
import {
  Version,
  type WorkloadRequest,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../../gen/zds_pb.js';

export interface WorkloadInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Absent: the tunnel's default. */
  readonly drainMs?: number;
}

/** `add` travels with the descriptor of the pod's namespace. */
export type ZdsRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info: WorkloadInfo }
  | { readonly kind: 'keep' | 'del'; readonly uid: string }
  | { readonly kind: 'snapshot-sent' };

export function encodeRequest(request: ZdsRequest): Uint8Array {
  return toBinary(WorkloadRequestSchema, toMessage(request));
}

/** The error of an acknowledgement, empty for success. Throws ERR_ZDS for anything else. */
export function decodeAck(data: Uint8Array): string {
  const { payload } = decode(() => fromBinary(WorkloadResponseSchema, data));
  if (payload.case !== 'ack')
    throw new MeshError('ERR_ZDS', 'the tunnel answered something else than an acknowledgement');
  return payload.value.error;
}

/** Throws ERR_ZDS unless it is the hello of a version we speak. */
export function checkHello(data: Uint8Array): void {
  const { version } = decode(() => fromBinary(ZdsHelloSchema, data));
  if (version !== Version.V1) throw new MeshError('ERR_ZDS', `the tunnel speaks version ${version}, not 1`);
}

function toMessage(request: ZdsRequest): WorkloadRequest {
  const of = (payload: MessageInitShape<typeof WorkloadRequestSchema>['payload']) =>
    create(WorkloadRequestSchema, payload ? { payload } : {});
  switch (request.kind) {
    case 'add':
      return of({ case: 'add', value: { uid: request.uid, workloadInfo: { ...request.info } } });
    case 'keep':
      return of({ case: 'keep', value: { uid: request.uid } });
    case 'del':
      return of({ case: 'del', value: { uid: request.uid } });
    case 'snapshot-sent':
      return of({ case: 'snapshotSent', value: {} });
  }
}

function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new MeshError('ERR_ZDS', `the tunnel sent something that is no message: ${errorMessage(cause)}`, { cause });
  }
}
