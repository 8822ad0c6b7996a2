/**
 * Writes to an API server: statuses and annotations as merge patches, whole objects as one field manager.
 *
 * Invariants
 *  - Conditions are written against the version that was read; when somebody was faster they are read again.
 *  - Annotations of pods go through `pods/status`, which needs fewer rights than pods themselves.
 */
import { LRUCache } from 'lru-cache';
import { MeshError } from '../../core/errors.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { GroupKind, KubeObject, KubeWriter, MergePatch } from '../port.ts';
import { type ApiAnswer, type ApiClient, refusal } from './api-client.ts';
import { collectionPath, definitionOf, objectPath } from './api-path.ts';
import type { ApiCall } from './cluster-access.ts';
import { conditionTypes, statusPatch } from './status-patch.ts';

export interface ClientWriterOptions {
  readonly api: ApiClient;
  /** Names the writer to the API server: `culvert-controller`. */
  readonly manager: string;
  /** Condition types that nobody else writes: those left out of a patch go, also those of an earlier process. */
  readonly ownConditions?: readonly string[];
}

const MERGE_PATCH = 'application/merge-patch+json';
const APPLY_PATCH = 'application/apply-patch+yaml'; // JSON is YAML
const JSON_TYPE = 'application/json';
const MAX_CONFLICTS = 8;
const MAX_REMEMBERED = 10_000;
const NOT_FOUND = 404;
const CONFLICT = 409;

type Call = Omit<ApiCall, 'silenceMs'>;

export class ClientWriter implements KubeWriter {
  readonly #api: ApiClient;
  readonly #manager: string;
  readonly #ownConditions: readonly string[];
  /** Condition types written on an object, by its path. */
  readonly #written = new LRUCache<string, ReadonlySet<string>>({ max: MAX_REMEMBERED });
  /** The version of a kind that last answered. */
  readonly #versions = new Map<string, string>();

  constructor({ api, manager, ownConditions = [] }: ClientWriterOptions) {
    this.#api = api;
    this.#manager = manager;
    this.#ownConditions = ownConditions;
  }

  async patchStatus(kind: GroupKind, key: NamespacedName, patch: MergePatch): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const { version, object } = await this.#read(kind, key);
      const path = objectPath(kind, version, key, 'status');
      const owned = new Set([...this.#ownConditions, ...(this.#written.get(path) ?? [])]);
      const body = statusPatch(object, patch, owned);
      if (body === undefined) return;
      const answer = await this.#send({ method: 'PATCH', path, body, contentType: MERGE_PATCH });
      if (answer.status === CONFLICT && attempt < MAX_CONFLICTS) continue;
      requireSuccess(answer, kind, key);
      this.#written.set(path, new Set([...owned, ...conditionTypes(patch)]));
      return;
    }
  }

  async patchAnnotations(
    kind: GroupKind,
    key: NamespacedName,
    patch: Readonly<Record<string, string | null>>,
  ): Promise<void> {
    const subresource = kind.group === '' && kind.kind === 'Pod' ? 'status' : undefined;
    const body = { metadata: { annotations: patch } };
    const { answer } = await this.#inSomeVersion(kind, (version) => ({
      ...{ method: 'PATCH', body, contentType: MERGE_PATCH },
      path: objectPath(kind, version, key, subresource),
    }));
    requireSuccess(answer, kind, key);
  }

  /** Creates an object or takes over the fields it names (server-side apply, forced). */
  async applyObject(object: KubeObject): Promise<void> {
    const { kind, version } = kindOf(object);
    const key = { namespace: object.metadata.namespace ?? '', name: object.metadata.name };
    const path = objectPath(kind, version, key);
    const query = { fieldManager: this.#manager, force: 'true' };
    const call: Call = { method: 'PATCH', path, query, body: object, contentType: APPLY_PATCH };
    requireSuccess(await this.#api.callPatiently(call), kind, key);
  }

  /** The whole object as the API server has it, undefined when it is gone. Rejects with ERR_SYSTEM. */
  async readObject(kind: GroupKind, key: NamespacedName): Promise<KubeObject | undefined> {
    try {
      return (await this.#read(kind, key)).object;
    } catch (error) {
      if (error instanceof MeshError && error.code === 'ERR_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Answers false when an object of that name is there already. */
  async createObject(object: KubeObject): Promise<boolean> {
    const { kind, version } = kindOf(object);
    const { namespace = '', name } = object.metadata;
    const path = collectionPath(kind, version, namespace);
    const answer = await this.#send({ method: 'POST', path, body: object, contentType: JSON_TYPE });
    if (answer.status === CONFLICT) return false;
    requireSuccess(answer, kind, { namespace, name });
    return true;
  }

  /** Answers false when the object is not the version that `object` was made from, or is gone. */
  async replaceObject(object: KubeObject): Promise<boolean> {
    const { kind, version } = kindOf(object);
    const key = { namespace: object.metadata.namespace ?? '', name: object.metadata.name };
    const path = objectPath(kind, version, key);
    const answer = await this.#send({ method: 'PUT', path, body: object, contentType: JSON_TYPE });
    if (answer.status === CONFLICT || answer.status === NOT_FOUND) return false;
    requireSuccess(answer, kind, key);
    return true;
  }

  async #read(kind: GroupKind, key: NamespacedName): Promise<{ version: string; object: KubeObject }> {
    const { version, answer } = await this.#inSomeVersion(kind, (tried) => ({
      method: 'GET',
      path: objectPath(kind, tried, key),
    }));
    requireSuccess(answer, kind, key);
    return { version, object: answer.body as KubeObject };
  }

  /** The first answer, over the versions of the kind, that is not "not found"; else the last. */
  async #inSomeVersion(kind: GroupKind, toCall: (version: string) => Call) {
    const id = `${kind.group}/${kind.kind}`;
    const known = this.#versions.get(id);
    const versions = known === undefined ? definitionOf(kind).versions : [known];
    for (const [index, version] of versions.entries()) {
      const answer = await this.#api.callPatiently(toCall(version));
      if (answer.status !== NOT_FOUND) this.#versions.set(id, version);
      if (answer.status !== NOT_FOUND || index === versions.length - 1) return { version, answer };
    }
    throw new MeshError('ERR_UNSUPPORTED', `no version of ${id} is known`);
  }

  #send(call: Call): Promise<ApiAnswer> {
    return this.#api.callPatiently({ ...call, query: { ...call.query, fieldManager: this.#manager } });
  }
}

function kindOf({ apiVersion, kind }: KubeObject): { kind: GroupKind; version: string } {
  const slash = apiVersion.indexOf('/');
  return { kind: { group: apiVersion.slice(0, Math.max(slash, 0)), kind }, version: apiVersion.slice(slash + 1) };
}

function requireSuccess(answer: ApiAnswer, { kind }: GroupKind, { namespace, name }: NamespacedName): void {
  if (answer.status >= 200 && answer.status < 300) return;
  const what = `${kind} ${namespace}/${name}: ${refusal(answer)}`;
  throw new MeshError(answer.status === NOT_FOUND ? 'ERR_NOT_FOUND' : 'ERR_SYSTEM', what);
}
