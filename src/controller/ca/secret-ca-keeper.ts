/**
 * The self-made authority in a Secret, shared by every replica of the control plane: `istio-ca-secret`, or `cacerts` in
 * the form in which an operator would plug it in, so that it can be handed on.
 * Source: Istio control plane (type `istio.io/ca-root`, keys `ca-cert.pem` and `ca-key.pem`; key `istio-generated`).
 */
import { MeshError } from '../../core/errors.ts';
import type { GroupKind, KubeObject } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import { type CaKeeper, type CaMaterial, PrivateKey } from '../../pki/index.ts';
import type { ObjectAccess } from '../object-access.ts';

const SECRET: GroupKind = { group: '', kind: 'Secret' };
const CERTIFICATE_KEY = 'ca-cert.pem';
const PRIVATE_KEY = 'ca-key.pem';

export type CaSecretName = 'istio-ca-secret' | 'cacerts';

type SecretObject = KubeObject & { readonly type?: string; readonly data?: Readonly<Record<string, string>> };

export function secretCaKeeper(
  objects: ObjectAccess,
  namespace: string,
  name: CaSecretName = 'istio-ca-secret',
): CaKeeper {
  const key = { namespace, name };
  const find = () => objects.readObject(SECRET, key) as Promise<SecretObject | undefined>;
  const read = async () => {
    const secret = await find();
    return secret && toMaterial(secret, key);
  };
  const readAgain = async () => {
    const kept = await read();
    if (!kept) throw new MeshError('ERR_CONFIG', `the Secret ${namespace}/${name} comes and goes`);
    return kept;
  };
  return {
    read,
    async create(make) {
      const material = await make();
      return (await objects.createObject(toSecret(material, key))) ? material : readAgain();
    },
    async replace(before, renewed) {
      const secret = await find();
      // Another replica was faster: its root is the one.
      if (!secret || toMaterial(secret, key).certPem !== before.certPem) return readAgain();
      const { data } = toSecret(renewed, key);
      const replaced = await objects.replaceObject({ ...secret, data: { ...secret.data, ...data } } as KubeObject);
      return replaced ? renewed : readAgain();
    },
  };
}

function toSecret({ certPem, key, rootsPem }: CaMaterial, { namespace, name }: NamespacedName): SecretObject {
  const pair = { [CERTIFICATE_KEY]: toBase64(certPem), [PRIVATE_KEY]: toBase64(key.reveal()) };
  const pluggable = { 'root-cert.pem': toBase64(rootsPem), 'cert-chain.pem': toBase64(certPem), 'istio-generated': '' };
  const data = name === 'cacerts' ? { ...pair, ...pluggable } : pair;
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, type: 'istio.io/ca-root', data };
}

function toMaterial({ data = {} }: SecretObject, { namespace, name }: NamespacedName): CaMaterial {
  const certPem = fromBase64(data[CERTIFICATE_KEY]);
  const keyPem = fromBase64(data[PRIVATE_KEY]);
  if (certPem === '' || keyPem === '') {
    throw new MeshError('ERR_CONFIG', `the Secret ${namespace}/${name} lacks ${CERTIFICATE_KEY} or ${PRIVATE_KEY}`);
  }
  return { certPem, key: PrivateKey.parse(keyPem), chainPem: '', rootsPem: certPem };
}

function toBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

function fromBase64(text: string | undefined): string {
  return Buffer.from(text ?? '', 'base64').toString('utf8');
}
