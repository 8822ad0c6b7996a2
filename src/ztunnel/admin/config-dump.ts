/** The whole config dump: state, certificates, pods with their connections, configuration. */

import { identityUri } from '../../model/identity.ts';
import { formatIpPort } from '../../model/ip.ts';
import type { Certificate, CertificateStatus } from '../../pki/index.ts';
import { CERTIFICATE, toPem } from '../../pki/index.ts';
import type { ConnectionRecord } from '../connection-record.ts';
import type { PodState } from '../inpod/pod-proxies.ts';
import { dumpState, type Json } from '../state/dump-format.ts';
import type { MeshState } from '../state/mesh-state.ts';

export interface ConfigDumpDeps {
  readonly state: MeshState;
  readonly certificates: () => readonly CertificateStatus[];
  readonly pods: () => Iterable<PodState>;
  readonly connectionsOf: (owner: string) => Iterable<ConnectionRecord>;
  /** Readonly settings, without secrets. */
  readonly config: Json;
  readonly staticConfig: Json;
  readonly version: Json;
}

export function configDump(deps: ConfigDumpDeps): Readonly<Record<string, Json>> {
  const { state, config, staticConfig, version } = deps;
  return {
    ...dumpState(state),
    staticConfig,
    version,
    config,
    certificates: deps.certificates().map(dumpCertificates),
    workloadState: Object.fromEntries(Array.from(deps.pods(), (pod) => [pod.uid, dumpPod(pod, deps)])),
  };
}

function dumpCertificates(status: CertificateStatus): Json {
  const available = status.state === 'Available' ? status.svid : undefined;
  return {
    identity: identityUri(status.identity),
    state: status.state === 'Unavailable' ? `Unavailable: ${status.error}` : status.state,
    certChain: (available?.chain ?? []).map(dumpCertificate),
    rootCerts: (available?.roots ?? []).map(dumpCertificate),
  };
}

function dumpCertificate({ der, serial, notBeforeMs, notAfterMs }: Certificate): Json {
  return {
    pem: Buffer.from(toPem(Buffer.from(der), CERTIFICATE)).toString('base64'),
    serialNumber: serial.toString(),
    validFrom: rfc3339(notBeforeMs),
    expirationTime: rfc3339(notAfterMs),
  };
}

function rfc3339(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

function dumpPod({ owner, info, state }: PodState, { connectionsOf }: ConfigDumpDeps): Json {
  const records = owner === undefined ? [] : [...connectionsOf(owner)];
  const of = (direction: ConnectionRecord['direction']): Json[] =>
    records.filter((record) => record.direction === direction).map(dumpConnection);
  return {
    state,
    connections: { inbound: of('inbound'), outbound: of('outbound') },
    info: { name: info.name, namespace: info.namespace, serviceAccount: info.serviceAccount },
  };
}

function dumpConnection({ source, originalDestination, actualDestination, protocol }: ConnectionRecord): Json {
  return {
    src: formatIpPort(source.address),
    originalDst: originalDestination ?? null,
    actualDst: actualDestination,
    protocol,
  };
}
