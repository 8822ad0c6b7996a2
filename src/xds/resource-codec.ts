/**
 * What the resource codecs share: refusals with a reason, enums by name, gateway addresses.
 *
 * Enums travel as numbers; a number without a name refuses its resource, as the reference tunnel does.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { errorMessage, MeshError } from '../core/errors.ts';
import {
  GatewayAddressSchema,
  type GatewayAddress as GatewayMessage,
  NamespacedHostnameSchema,
  NetworkAddressSchema,
} from '../gen/workload_pb.js';
import { ipBytes, ipText } from '../model/ip-bytes.ts';
import type { GatewayAddress } from '../model/workload.ts';

/** The reason why a resource is refused; ends as part of a NACK. */
export function malformed(reason: string): MeshError {
  return new MeshError('ERR_MALFORMED', reason);
}

/** Runs a decoder; whatever it throws on foreign bytes becomes ERR_MALFORMED. */
export function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError('ERR_MALFORMED', `failed to decode: ${errorMessage(cause)}`, { cause });
  }
}

/** The name of an enum's number. Throws ERR_MALFORMED for a number without one. */
export function enumName<const T extends string>(names: readonly T[], value: number, what: string): T {
  const name = names[value];
  if (name === undefined) throw malformed(`unknown ${what}: ${value}`);
  return name;
}

/** The number of an enum's name. */
export function enumNumber<const T extends string>(names: readonly T[], name: T): number {
  return names.indexOf(name);
}

/** Canonical text of address bytes. Throws ERR_MALFORMED unless there are 4 or 16. */
export function parseIpBytes(bytes: Uint8Array): string {
  const text = ipText(bytes);
  if (text === undefined) throw malformed(`invalid IP address of ${bytes.length} bytes`);
  return text;
}

/** Bytes of an address of the model. Throws ERR_MALFORMED when it is none: a provider gave it unchecked. */
export function toIpBytes(ip: string): Uint8Array {
  const bytes = ipBytes(ip);
  if (!bytes) throw malformed(`invalid IP address ${ip}`);
  return bytes;
}

/** Ports are 16 bits; what is above is dropped, as the reference tunnel does. */
export function port16(value: number): number {
  return value & 0xffff;
}

export function fromGateway(message: GatewayMessage): GatewayAddress {
  const { destination } = message;
  const hboneMtlsPort = port16(message.hboneMtlsPort);
  switch (destination.case) {
    case 'hostname': {
      const { namespace, hostname } = destination.value;
      return { destination: { kind: 'hostname', namespace, hostname }, hboneMtlsPort };
    }
    case 'address': {
      const { network, address } = destination.value;
      return { destination: { kind: 'address', network, ip: parseIpBytes(address) }, hboneMtlsPort };
    }
    default:
      throw malformed('gateway address without a destination');
  }
}

/**
 * The message of a gateway address. The control plane's encoder writes the members of a oneof behind all other fields,
 * and versions are hashes of bytes: so the destination is handed over as an encoded field, which is written last.
 */
export function toGateway({ destination, hboneMtlsPort }: GatewayAddress): GatewayMessage {
  const message = create(GatewayAddressSchema, { hboneMtlsPort });
  if (destination.kind === 'hostname') {
    const { namespace, hostname } = destination;
    const bytes = toBinary(NamespacedHostnameSchema, create(NamespacedHostnameSchema, { namespace, hostname }));
    message.$unknown = [{ no: 1, wireType: WireType.LengthDelimited, data: prefixed(bytes) }];
  } else {
    const address = create(NetworkAddressSchema, { network: destination.network, address: toIpBytes(destination.ip) });
    const bytes = toBinary(NetworkAddressSchema, address);
    message.$unknown = [{ no: 2, wireType: WireType.LengthDelimited, data: prefixed(bytes) }];
  }
  return message;
}

function prefixed(bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().bytes(bytes).finish();
}
