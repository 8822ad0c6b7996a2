/**
 * The pods the agent answers for, by UID, and the handles of their namespaces.
 *
 * Invariants
 *  - An entry owns its namespace handle; it is closed when the entry is dropped or gets another namespace.
 *  - The same namespace given again keeps the old handle and closes the new one.
 */
import type { Netns } from 'culvert-netns';
import type { NamespacedName } from '../../model/address.ts';
import type { CapturedPod, CaptureOptions, RedirectBackend } from '../redirect/index.ts';
import type { WorkloadInfo } from './zds-codec.ts';
import type { ZdsPod } from './zds-server.ts';

/**
 * `joining`: the tunnel is told, nothing is captured yet, or it is captured and the tunnel has not answered.
 * `enrolled`: captured and acknowledged. `leaving`: nothing new is captured, the tunnel still listens.
 * `draining`: the tunnel let go, captured connections are still open. `gone`: the pod has ended.
 */
export type EnrolmentState = 'joining' | 'enrolled' | 'leaving' | 'draining' | 'gone';

export interface EnrolledPod {
  readonly uid: string;
  readonly key: NamespacedName;
  info: WorkloadInfo;
  netns: Netns;
  ips: readonly string[];
  options: CaptureOptions;
  backend: RedirectBackend;
  state: EnrolmentState;
  /** Whether the namespace captures new connections. */
  capturing: boolean;
  /** While it leaves: until when the tunnel still serves it (monotonic ms). */
  servedUntilMs: number;
}

export class EnrolledPods implements Disposable {
  readonly #byUid = new Map<string, EnrolledPod>();

  get(uid: string): EnrolledPod | undefined {
    return this.#byUid.get(uid);
  }

  /** All entries of a name: more than one after a pod was made anew under its name. */
  named({ namespace, name }: NamespacedName): readonly EnrolledPod[] {
    return [...this.#byUid.values()].filter(({ key }) => key.namespace === namespace && key.name === name);
  }

  all(): readonly EnrolledPod[] {
    return [...this.#byUid.values()];
  }

  /** Adds or renews an entry; takes ownership of its namespace handle. */
  put(pod: EnrolledPod): EnrolledPod {
    const known = this.#byUid.get(pod.uid);
    if (known === undefined) {
      this.#byUid.set(pod.uid, pod);
      return pod;
    }
    const { netns, capturing, ...rest } = pod;
    Object.assign(known, rest);
    if (known.netns === netns) return known;
    if (known.netns.id === netns.id) {
      netns[Symbol.dispose]();
      return known;
    }
    known.netns[Symbol.dispose]();
    known.netns = netns;
    known.capturing = capturing;
    return known;
  }

  /** Forgets an entry and closes its handle. */
  drop({ uid }: { readonly uid: string }): void {
    this.#byUid.get(uid)?.netns[Symbol.dispose]();
    this.#byUid.delete(uid);
  }

  /** What a new tunnel is told. */
  snapshot(): readonly ZdsPod[] {
    return this.all().filter(({ state }) => state !== 'draining' && state !== 'gone');
  }

  [Symbol.dispose](): void {
    for (const pod of this.all()) this.drop(pod);
  }
}

/** The entry as the back-ends take it. */
export function toCaptured({ uid, netns, ips, options }: EnrolledPod): CapturedPod {
  return { uid, netns, ips, options };
}
