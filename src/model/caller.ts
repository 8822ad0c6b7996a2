/** Who calls the control plane, and the port that finds it out. */

/** What a call carries for authentication. */
export interface CallerCredentials {
  /** The bearer token; undefined when the call has none. */
  readonly token: string | undefined;
  /** The cluster that the caller says it is in; empty when it says nothing. */
  readonly clusterId: string;
}

/** An authenticated service account, with its pod where the token is bound to one. */
export interface Caller {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string | undefined;
  readonly podUid: string | undefined;
  readonly clusterId: string;
}

export interface Authenticator {
  /** The caller, or undefined when the credentials prove nothing. A rejection counts as "proves nothing" too. */
  authenticate(credentials: CallerCredentials): Promise<Caller | undefined>;
}

/** Reads a call's metadata; `get` gives the values of a name. */
export function toCallerCredentials(get: (name: string) => readonly (string | Uint8Array)[]): CallerCredentials {
  const bearer = /^bearer +(\S+)$/i.exec(String(get('authorization')[0] ?? ''));
  return { token: bearer?.[1], clusterId: String(get('clusterid')[0] ?? '') };
}
