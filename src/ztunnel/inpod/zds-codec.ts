/** ZDS messages between bytes and plain data. Source: zds.proto, package istio.workload.zds. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { Version, WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema } from '../../gen/zds_pb.js';
import type { PodInfo } from '../state/workload-index.ts';

export type ZdsRequest =
  | { readonly kind: 'add'; readonly uid: string; readonly info: PodInfo | undefined }
  | { readonly kind: 'del'; readonly uid: string }
  | { readonly kind: 'keep'; readonly uid: string }
  | { readonly kind: 'snapshot-sent' };

/** First message of the tunnel. */
export function encodeHello(): Uint8Array {
  return toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version: Version.V1 }));
}

/** Longest error text put in an Ack, so that the packet stays below the agent's 1024 bytes. */
const ACK_ERROR_MAX = 240;

/** Answer to one request; an empty error means success. */
export function encodeAck(error = ''): Uint8Array {
  const value = { error: error.slice(0, ACK_ERROR_MAX) };
  return toBinary(WorkloadResponseSchema, create(WorkloadResponseSchema, { payload: { case: 'ack', value } }));
}

/** Throws ERR_MALFORMED for what is no request. */
export function decodeRequest(data: Uint8Array): ZdsRequest {
  const { payload } = decode(data);
  switch (payload.case) {
    case 'add': {
      const { uid, workloadInfo } = payload.value;
      const info = workloadInfo && {
        name: workloadInfo.name,
        namespace: workloadInfo.namespace,
        serviceAccount: workloadInfo.serviceAccount,
        ...(workloadInfo.drainMs === undefined ? {} : { drainMs: workloadInfo.drainMs }),
      };
      return { kind: 'add', uid, info };
    }
    case 'del':
      return { kind: 'del', uid: payload.value.uid };
    case 'keep':
      return { kind: 'keep', uid: payload.value.uid };
    case 'snapshotSent':
      return { kind: 'snapshot-sent' };
    default:
      throw new MeshError('ERR_MALFORMED', 'request without a payload');
  }
}

function decode(data: Uint8Array) {
  try {
    return fromBinary(WorkloadRequestSchema, data);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', `failed to decode request: ${errorMessage(cause)}`, { cause });
  }
}
