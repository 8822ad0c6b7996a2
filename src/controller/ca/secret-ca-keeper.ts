/**
 * The self-made authority in the Secret `istio-ca-secret`, shared by every replica of the control plane.
 * Source: Istio control plane (type `istio.io/ca-root`, keys `ca-cert.pem` and `ca-key.pem`).
 */
import { MeshError } from '../../core/errors.ts';
import type { GroupKind, KubeObject } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import { type CaKeeper, type CaMaterial, PrivateKey } from '../../pki/index.ts';

/** Whole objects, read past every cache. */
export interface ObjectAccess {
  readObject(kind: GroupKind, key: NamespacedName): Promise<KubeObject | undefined>;
  /** False: it is there already. */
  createObject(object: KubeObject): Promise<boolean>;
  /** False: somebody changed it since it was read. */
  replaceObject(object: KubeObject): Promise<boolean>;
}

const NAME = 'istio-ca-secret';
const SECRET: GroupKind = { group: '', kind: 'Secret' };
const CERTIFICATE_KEY = 'ca-cert.pem';
const PRIVATE_KEY = 'ca-key.pem';

type SecretObject = KubeObject & { readonly data?: Readonly<Record<string, string>> };

export function secretCaKeeper(objects: ObjectAccess, namespace: string): CaKeeper {
  const key = { namespace, name: NAME };
  const find = () => objects.readObject(SECRET, key) as Promise<SecretObject | undefined>;
  const read = async () => {
    const secret = await find();
    return secret && toMaterial(secret, namespace);
  };
  const readAgain = async () => {
    const kept = await read();
    if (!kept) throw new MeshError('ERR_CONFIG', `the Secret ${namespace}/${NAME} comes and goes`);
    return kept;
  };
  return {
    read,
    async create(make) {
      const material = await make();
      return (await objects.createObject(toSecret(material, namespace))) ? material : readAgain();
    },
    async replace(before, renewed) {
      const secret = await find();
      // Another replica was faster: its root is the one.
      if (!secret || toMaterial(secret, namespace).certPem !== before.certPem) return readAgain();
      const { data } = toSecret(renewed, namespace);
      const replaced = await objects.replaceObject({ ...secret, data: { ...secret.data, ...data } } as KubeObject);
      return replaced ? renewed : readAgain();
    },
  };
}

function toSecret({ certPem, key }: CaMaterial, namespace: string): SecretObject & { readonly type: string } {
  const data = { [CERTIFICATE_KEY]: toBase64(certPem), [PRIVATE_KEY]: toBase64(key.reveal()) };
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name: NAME, namespace }, type: 'istio.io/ca-root', data };
}

function toMaterial({ data = {} }: SecretObject, namespace: string): CaMaterial {
  const certPem = fromBase64(data[CERTIFICATE_KEY]);
  const keyPem = fromBase64(data[PRIVATE_KEY]);
  if (certPem === '' || keyPem === '') {
    throw new MeshError('ERR_CONFIG', `the Secret ${namespace}/${NAME} lacks ${CERTIFICATE_KEY} or ${PRIVATE_KEY}`);
  }
  return { certPem, key: PrivateKey.parse(keyPem), chainPem: '', rootsPem: certPem };
}

function toBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

function fromBase64(text: string | undefined): string {
  return Buffer.from(text ?? '', 'base64').toString('utf8');
}
