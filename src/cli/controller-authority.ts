/** Who signs for the control plane, by its environment. */
import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterAuthority, secretCaKeeper } from '../controller/index.ts';
import { asBoolean, asString, type ConfigReader } from '../core/config-reader.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import type { CaKeeper } from '../pki/index.ts';
import type { KubeProvider } from './kube-provider.ts';

export type AuthorityConfig =
  | { readonly kind: 'folder'; readonly folder: string }
  /** A Secret of the cluster: `istio-ca-secret`, or `cacerts` where that is asked for. */
  | { readonly kind: 'secret'; readonly asCacerts: boolean }
  | {
      readonly kind: 'cluster';
      readonly signerName: string;
      readonly signerDomain: string;
      readonly rootsFolder: string;
    };

const EXTERNAL = 'ISTIOD_RA_KUBERNETES_API';
/** The root of the cluster itself: what its own signers sign with. */
const CLUSTER_ROOTS = '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt';

/** What is missing or contradicts itself is a problem of `read`. */
export function readAuthorityConfig(read: ConfigReader, overDirectory: boolean): AuthorityConfig {
  const folder = overDirectory ? (read.required('CA_DIR', asString) ?? '') : read.optional('CA_DIR', asString, '');
  const external = read.optional('EXTERNAL_CA', asString, '');
  const signerName = read.optional('K8S_SIGNER', asString, '');
  const signerDomain = read.optional('CERT_SIGNER_DOMAIN', asString, '');
  const rootsFolder = read.optional('EXTERNAL_CA_CERT_DIR', asString, '/etc/external-ca-cert');
  const asCacerts = read.optional('USE_CACERTS_FOR_SELF_SIGNED_CA', asBoolean, false);
  if (external !== '') {
    if (external !== EXTERNAL) read.problem(`EXTERNAL_CA: only ${EXTERNAL} is known`);
    if (overDirectory) read.problem('EXTERNAL_CA needs an API server');
    if (signerName === '' && signerDomain === '') read.problem('EXTERNAL_CA needs K8S_SIGNER or CERT_SIGNER_DOMAIN');
    return { kind: 'cluster', signerName, signerDomain, rootsFolder };
  }
  return folder === '' ? { kind: 'secret', asCacerts } : { kind: 'folder', folder };
}

/** Rejects with ERR_CONFIG. */
export async function openAuthority(
  config: AuthorityConfig,
  { cluster }: KubeProvider,
  namespace: string,
): Promise<string | CaKeeper | ClusterAuthority> {
  if (config.kind === 'folder') return config.folder;
  assert(cluster, 'the configuration requires a folder where there is no API server');
  if (config.kind === 'secret') {
    return secretCaKeeper(cluster.objects, namespace, config.asCacerts ? 'cacerts' : 'istio-ca-secret');
  }
  const { signerName, signerDomain, rootsFolder } = config;
  const rootsPem = await readRoots(rootsFolder);
  return new ClusterAuthority({ sign: cluster.sign, signerName, signerDomain, rootsPem, clock: systemClock });
}

async function readRoots(folder: string): Promise<string> {
  const own = join(folder, 'root-cert.pem');
  const path = await access(own).then(
    () => own,
    () => CLUSTER_ROOTS,
  );
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `roots of the cluster signer: ${errorMessage(cause)}`, { cause });
  }
}
