/**
 * Delta discovery messages between bytes and plain data. Source: Envoy discovery.proto, the delta subset.
 *
 * Resources are encoded once, with their field header; a response is put together from those bytes.
 */
import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  type Resource as ResourceMessage,
  ResourceSchema,
} from '../gen/xds_pb.js';
import { decoding } from './resource-codec.ts';

export const DELTA_STREAM_PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

/** Who subscribes. Metadata values are strings, or JSON where the operator set JSON. */
export interface NodeInfo {
  readonly id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface DeltaRequest {
  /** In the first requests of a stream only. */
  readonly node?: NodeInfo;
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: ReadonlyMap<string, string>;
  /** Empty when the request answers nothing. */
  readonly responseNonce: string;
  /** Set: the answered response was refused, wholly or in part. */
  readonly errorMessage?: string;
}

export interface DeltaResource {
  readonly name: string;
  /** Empty when the type has no versions. */
  readonly version: string;
  readonly aliases: readonly string[];
  readonly typeUrl: string;
  readonly bytes: Uint8Array;
}

export interface DeltaResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly systemVersion: string;
  readonly resources: readonly DeltaResource[];
  readonly removed: readonly string[];
}

/** A response whose resources are encoded already. */
export interface EncodedResponse extends Omit<DeltaResponse, 'resources'> {
  readonly resources: readonly Uint8Array[];
}

export function encodeDeltaRequest(request: DeltaRequest): Buffer {
  const { node, errorMessage } = request;
  const message = create(DeltaDiscoveryRequestSchema, {
    typeUrl: request.typeUrl,
    resourceNamesSubscribe: [...request.subscribe],
    resourceNamesUnsubscribe: [...request.unsubscribe],
    initialResourceVersions: Object.fromEntries(request.initialVersions),
    responseNonce: request.responseNonce,
    // A cast: values come from strings and parsed JSON only, see the configuration's reader.
    ...(node && { node: { id: node.id, metadata: node.metadata as JsonObject } }),
    ...(errorMessage !== undefined && { errorDetail: { message: errorMessage } }),
  });
  return Buffer.from(toBinary(DeltaDiscoveryRequestSchema, message));
}

/** Throws ERR_MALFORMED. */
export function decodeDeltaRequest(bytes: Uint8Array): DeltaRequest {
  return decoding(() => {
    const m = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    return {
      typeUrl: m.typeUrl,
      subscribe: m.resourceNamesSubscribe,
      unsubscribe: m.resourceNamesUnsubscribe,
      initialVersions: new Map(Object.entries(m.initialResourceVersions)),
      responseNonce: m.responseNonce,
      ...(m.node && { node: { id: m.node.id, metadata: m.node.metadata ?? {} } }),
      ...(m.errorDetail && { errorMessage: m.errorDetail.message }),
    };
  });
}

/** One resource as it stands in a response, field header included. */
export function encodeResource(resource: DeltaResource): Uint8Array {
  const message = create(ResourceSchema, {
    name: resource.name,
    version: resource.version,
    aliases: [...resource.aliases],
    resource: { typeUrl: resource.typeUrl, value: resource.bytes },
  });
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited);
  return writer.bytes(toBinary(ResourceSchema, message)).finish();
}

export function encodeDeltaResponse(response: EncodedResponse): Buffer {
  const { systemVersion, typeUrl, nonce, removed } = response;
  const rest = create(DeltaDiscoveryResponseSchema, { typeUrl, nonce, removedResources: [...removed] });
  const head = new BinaryWriter().tag(1, WireType.LengthDelimited).string(systemVersion).finish();
  return Buffer.concat([head, ...response.resources, toBinary(DeltaDiscoveryResponseSchema, rest)]);
}

/** Throws ERR_MALFORMED when the envelope cannot be read; the resources inside are not looked into. */
export function decodeDeltaResponse(bytes: Uint8Array): DeltaResponse {
  return decoding(() => {
    const m = fromBinary(DeltaDiscoveryResponseSchema, bytes);
    return {
      typeUrl: m.typeUrl,
      nonce: m.nonce,
      systemVersion: m.systemVersionInfo,
      resources: m.resources.map(fromResource),
      removed: m.removedResources,
    };
  });
}

function fromResource(m: ResourceMessage): DeltaResource {
  return {
    name: m.name,
    version: m.version,
    aliases: m.aliases,
    typeUrl: m.resource?.typeUrl ?? '',
    bytes: m.resource?.value ?? new Uint8Array(),
  };
}
