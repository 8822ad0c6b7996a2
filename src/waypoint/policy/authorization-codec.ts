/** Messages of external authorization. Source: Envoy envoy.service.auth.v3. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../../core/errors.ts';
import {
  CheckRequestSchema,
  CheckResponseSchema,
  type HeaderValueOption,
} from '../../gen/external-authorization_pb.js';

export const CHECK_PATH = '/envoy.service.auth.v3.Authorization/Check';

export interface CheckPeer {
  readonly ip: string;
  readonly port: number;
  /** SPIFFE id. */
  readonly principal: string;
}

export interface CheckedRequest {
  readonly source: CheckPeer;
  readonly destination: CheckPeer;
  readonly id: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** With its query. */
  readonly path: string;
  readonly host: string;
  readonly scheme: string;
  readonly protocol: string;
  readonly contextExtensions: Readonly<Record<string, string>>;
}

export interface CheckedHeader {
  /** Lower-case. */
  readonly name: string;
  readonly value: string;
  readonly append: boolean;
}

export interface CheckAnswer {
  readonly allowed: boolean;
  /** 0: not said. */
  readonly status: number;
  readonly headers: readonly CheckedHeader[];
  readonly body: string;
  readonly headersToRemove: readonly string[];
  readonly responseHeaders: readonly CheckedHeader[];
}

export function encodeCheck(request: CheckedRequest): Uint8Array {
  const { source, destination, contextExtensions, ...http } = request;
  const peer = ({ ip, port, principal }: CheckPeer) => ({
    address: { socketAddress: { address: ip, portValue: port } },
    principal,
  });
  const message = create(CheckRequestSchema, {
    attributes: {
      source: peer(source),
      destination: peer(destination),
      request: { http: { ...http, size: -1n } },
      contextExtensions: { ...contextExtensions },
    },
  });
  return toBinary(CheckRequestSchema, message);
}

/** Throws ERR_MALFORMED. */
export function decodeCheck(bytes: Uint8Array): CheckAnswer {
  try {
    const { status, httpResponse } = fromBinary(CheckResponseSchema, bytes);
    const isDenied = httpResponse.case === 'deniedResponse';
    const ok = httpResponse.case === 'okResponse' ? httpResponse.value : undefined;
    return {
      allowed: (status?.code ?? 0) === 0 && !isDenied,
      status: isDenied ? (httpResponse.value.status?.code ?? 0) : 0,
      headers: toHeaders(httpResponse.value?.headers),
      body: isDenied ? httpResponse.value.body : '',
      headersToRemove: (ok?.headersToRemove ?? []).map((name) => name.toLowerCase()),
      responseHeaders: toHeaders(ok?.responseHeadersToAdd),
    };
  } catch (error) {
    throw new MeshError('ERR_MALFORMED', `answer of the authorization service: ${errorMessage(error)}`);
  }
}

const APPEND_ACTIONS_THAT_REPLACE: ReadonlySet<number> = new Set([2, 3]);

/** Pseudo headers are not an authorization service's to change. */
function toHeaders(options: readonly HeaderValueOption[] = []): readonly CheckedHeader[] {
  return options.flatMap(({ header, append, appendAction }) => {
    if (!header || header.key === '' || header.key.startsWith(':')) return [];
    const value = header.value || Buffer.from(header.rawValue).toString('latin1');
    const isAppended = append?.value === true && !APPEND_ACTIONS_THAT_REPLACE.has(appendAction);
    return [{ name: header.key.toLowerCase(), value, append: isAppended }];
  });
}
