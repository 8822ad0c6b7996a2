/**
 * Key material of a certificate authority in a folder: made once, or given in the layout of a `cacerts` secret.
 *
 * Invariants
 *  - A set of files is complete or refused: never a fresh root beside a stray key.
 *  - A new set appears whole (folder rename); of two makers the loser reads the winner's.
 * Source: Istio's cacerts layout (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem, at will
 * ca-crl.pem; or tls.crt, tls.key, ca.crt).
 */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoName, MeshError } from '../core/errors.ts';
import { buildCertificate, nameDer } from './certificate-builder.ts';
import { PrivateKey } from './private-key.ts';

/** 10 years. */
const ROOT_LIFETIME_MS = 3_650 * 24 * 3_600_000;

export interface CaMaterial {
  readonly certPem: string;
  readonly key: PrivateKey;
  /** Certificates between the signer and the root, signer first; empty when the signer is the root. */
  readonly chainPem: string;
  /** One or more roots. */
  readonly rootsPem: string;
  /** Revocation lists to hand out beside the roots. */
  readonly crlPem?: string;
}

/**
 * Reads the set in `folder`; undefined when the folder is missing or has none of the files.
 * Throws ERR_CONFIG when the set is incomplete or cannot be read.
 */
export async function readCaFiles(folder: string): Promise<CaMaterial | undefined> {
  const read = async (name: string): Promise<string | undefined> => {
    try {
      return await readFile(join(folder, name), 'utf8');
    } catch (cause) {
      if (errnoName(cause) === 'ENOENT' || errnoName(cause) === 'ENOTDIR') return undefined;
      throw new MeshError('ERR_CONFIG', `cannot read ${join(folder, name)}`, { cause });
    }
  };
  const istio = await Promise.all(['ca-cert.pem', 'ca-key.pem', 'root-cert.pem', 'cert-chain.pem'].map(read));
  const [certPem, keyPem, rootsPem, chainPem] = istio;
  if (certPem !== undefined && keyPem !== undefined && rootsPem !== undefined && chainPem !== undefined) {
    const crlPem = await read('ca-crl.pem');
    const material = { certPem, key: PrivateKey.parse(keyPem), chainPem, rootsPem };
    return crlPem === undefined ? material : { ...material, crlPem };
  }
  const [tlsCert, tlsKey, caCert] = await Promise.all(['tls.crt', 'tls.key', 'ca.crt'].map(read));
  if (tlsCert !== undefined && tlsKey !== undefined && caCert !== undefined) {
    return { certPem: tlsCert, key: PrivateKey.parse(tlsKey), chainPem: tlsCert, rootsPem: caCert };
  }
  if ([...istio, tlsCert, tlsKey, caCert].every((text) => text === undefined)) return undefined;
  throw new MeshError(
    'ERR_CONFIG',
    `incomplete certificate authority in ${folder}: expected ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem`,
  );
}

/** Keeps a new set in `folder`, which must be missing or empty. Throws ERR_CONFIG when it cannot be written. */
export async function createCaFiles(folder: string, make: () => Promise<CaMaterial>): Promise<CaMaterial> {
  const material = await make();
  try {
    await mkdir(dirname(folder), { recursive: true });
    const fresh = await mkdtemp(`${folder}.new-`);
    await writeMaterial(fresh, material);
    try {
      await rename(fresh, folder); // onto nothing or an empty folder
      return material;
    } catch (cause) {
      await rm(fresh, { recursive: true, force: true });
      const winner = await readCaFiles(folder);
      if (winner) return winner;
      throw cause;
    }
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError('ERR_CONFIG', `cannot keep the certificate authority in ${folder}`, { cause });
  }
}

/** Puts a renewed root in the place of the old one; the key stays. */
export async function replaceRootFile(folder: string, { certPem, rootsPem }: CaMaterial): Promise<void> {
  for (const [name, text] of [['root-cert.pem', rootsPem] as const, ['ca-cert.pem', certPem] as const]) {
    await writeFile(join(folder, `.${name}.new`), text, { mode: 0o644 });
    await rename(join(folder, `.${name}.new`), join(folder, name));
  }
}

/** A root that signs itself, named by the trust domain. */
export async function selfSignedRoot(key: PrivateKey, trustDomain: string, nowMs: number): Promise<CaMaterial> {
  const template = {
    publicKeyDer: key.publicKeyDer,
    organization: trustDomain,
    names: {},
    notBeforeMs: nowMs,
    notAfterMs: nowMs + ROOT_LIFETIME_MS,
    isCa: true,
  };
  const certPem = buildCertificate(template, { key, subject: nameDer(trustDomain) });
  return { certPem, key, chainPem: '', rootsPem: certPem };
}

async function writeMaterial(folder: string, { certPem, key, chainPem, rootsPem }: CaMaterial): Promise<void> {
  await writeFile(join(folder, 'ca-key.pem'), key.reveal(), { mode: 0o600 });
  await writeFile(join(folder, 'ca-cert.pem'), certPem, { mode: 0o644 });
  await writeFile(join(folder, 'cert-chain.pem'), chainPem, { mode: 0o644 });
  await writeFile(join(folder, 'root-cert.pem'), rootsPem, { mode: 0o644 });
}
