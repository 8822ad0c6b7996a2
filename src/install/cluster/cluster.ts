/** The API server as the installer needs it. Every refusal becomes an error that names the object. */
import { MeshError } from '../../core/errors.ts';
import type { ApiClient } from '../../kube/index.ts';
import type { PlainObject } from '../manifests/index.ts';
import { type KindPath, kindPath, listPath, objectPath } from './object-path.ts';

/** An object with whatever else it has. */
export type ApiObject = PlainObject & {
  readonly metadata: PlainObject['metadata'] & {
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
  readonly data?: Readonly<Record<string, string>>;
};

export type Applied = 'created' | 'changed' | 'unchanged';

export interface ApplyOptions {
  /** The server checks and answers; nothing is kept. */
  readonly dryRun: boolean;
}

/** Name of the owner of the fields that are installed. */
export const FIELD_MANAGER = 'culvert-install';
const APPLY_PATCH = 'application/apply-patch+yaml';
const NOT_FOUND = 404;
const LOG_LINES = 15;

export class Cluster {
  readonly #api: ApiClient;

  constructor(api: ApiClient) {
    this.#api = api;
  }

  /** Version of the API server, `v1.36.3`. Rejects with ERR_SYSTEM when it does not answer. */
  async version(): Promise<string> {
    const { status, body } = await this.#api.call({ method: 'GET', path: '/version' });
    const version = (body as { gitVersion?: unknown } | undefined)?.gitVersion;
    if (status !== 200 || typeof version !== 'string') {
      throw new MeshError('ERR_SYSTEM', `the API server does not say its version: ${describe(status, body)}`);
    }
    return version;
  }

  /** Group versions that are served. */
  async served(): Promise<ReadonlySet<string>> {
    const { status, body } = await this.#api.callPatiently({ method: 'GET', path: '/apis' });
    if (status !== 200) throw new MeshError('ERR_SYSTEM', `the API groups cannot be read: ${describe(status, body)}`);
    const { groups } = body as { groups: readonly { versions: readonly { groupVersion: string }[] }[] };
    return new Set(['v1', ...groups.flatMap(({ versions }) => versions.map(({ groupVersion }) => groupVersion))]);
  }

  /** Makes the object what is given, where it names fields (server-side apply, forced). */
  async apply(object: PlainObject, { dryRun }: ApplyOptions): Promise<Applied> {
    const path = pathOf(object);
    const before = await this.#get(path);
    const query = { fieldManager: FIELD_MANAGER, force: 'true', ...(dryRun ? { dryRun: 'All' } : {}) };
    const call = { method: 'PATCH', path, query, body: object, contentType: APPLY_PATCH } as const;
    const { status, body } = await this.#api.callPatiently(call);
    if (status >= 300) throw refused(object, status, body);
    if (before === undefined) return 'created';
    const after = body as ApiObject;
    return before.metadata.resourceVersion === after.metadata.resourceVersion ? 'unchanged' : 'changed';
  }

  /** Whether the account of the kubeconfig may do this in the whole cluster. */
  async mayI(verb: string, group: string, resource: string): Promise<boolean> {
    const version = 'authorization.k8s.io/v1';
    const spec = { resourceAttributes: { verb, group, resource } };
    const { status, body } = await this.#api.callPatiently({
      ...{ method: 'POST', path: `/apis/${version}/selfsubjectaccessreviews`, contentType: 'application/json' },
      body: { apiVersion: version, kind: 'SelfSubjectAccessReview', spec },
    });
    return status === 201 && (body as { status?: { allowed?: boolean } }).status?.allowed === true;
  }

  /** Undefined when it is not there, or its kind is not. */
  async read(apiVersion: string, kind: string, name: string, namespace?: string): Promise<ApiObject | undefined> {
    return this.#get(objectPath(kindPath(apiVersion, kind), name, namespace));
  }

  /** Objects of a kind; none when the kind is not there. */
  async list(path: KindPath, query: Readonly<Record<string, string>> = {}, namespace?: string): Promise<ApiObject[]> {
    const { status, body } = await this.#api.callPatiently({ method: 'GET', path: listPath(path, namespace), query });
    if (status === NOT_FOUND) return [];
    if (status !== 200) throw new MeshError('ERR_SYSTEM', `${path.plural} cannot be listed: ${describe(status, body)}`);
    const { items } = body as { items: readonly ApiObject[] };
    return items.map((item) => ({ ...item, apiVersion: path.apiVersion, kind: path.kind }));
  }

  /** Its pods end before it is gone (foreground). Answers false when it was not there. */
  async remove(object: PlainObject, { dryRun }: ApplyOptions): Promise<boolean> {
    const { status, body } = await this.#api.callPatiently({
      ...{ method: 'DELETE', path: pathOf(object), contentType: 'application/json' },
      query: dryRun ? { dryRun: 'All' } : {},
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Foreground' },
    });
    if (status === NOT_FOUND) return false;
    if (status >= 300) throw refused(object, status, body);
    return true;
  }

  /** The last lines that a container wrote, of its last run when it crashes; empty when there are none. */
  async logs(pod: ApiObject, container: string, previous: boolean): Promise<string> {
    const path = `${pathOf(pod)}/log`;
    const query = { container, tailLines: String(LOG_LINES), previous: String(previous) };
    const { status, text } = await this.#api.callText({ method: 'GET', path, query });
    return status === 200 ? text.trim() : '';
  }

  async #get(path: string): Promise<ApiObject | undefined> {
    const { status, body } = await this.#api.callPatiently({ method: 'GET', path });
    if (status === NOT_FOUND) return undefined;
    if (status !== 200) throw new MeshError('ERR_SYSTEM', `${path} cannot be read: ${describe(status, body)}`);
    return body as ApiObject;
  }
}

/** `DaemonSet istio-system/ztunnel`. */
export function nameOf({ kind, metadata: { namespace, name } }: PlainObject): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

function pathOf({ apiVersion, kind, metadata: { name, namespace } }: PlainObject): string {
  return objectPath(kindPath(apiVersion, kind), name, namespace);
}

function refused(object: PlainObject, status: number, body: unknown): MeshError {
  const hint =
    status === 403 && describe(status, body).includes('forbidden: User')
      ? '; the account of this kubeconfig may not do it: installing needs the rights of cluster-admin'
      : '';
  return new MeshError('ERR_SYSTEM', `${nameOf(object)} is refused: ${describe(status, body)}${hint}`);
}

function describe(status: number, body: unknown): string {
  const message = (body as { message?: unknown } | undefined)?.message;
  return `${status} ${typeof message === 'string' ? message : 'without a message'}`;
}
