/**
 * Callers by the review of their tokens at the API server.
 *
 * Invariants
 *  - Without a verdict nobody is authenticated; only verdicts are remembered, and only for seconds, by digest.
 *  - Reviews under way at once are bounded; one token is reviewed once however many calls wait for it.
 * Source: Istio control plane (Kubernetes token authentication).
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { ReviewedToken, TokenReviewer } from '../../kube/index.ts';
import type { Authenticator, Caller, CallerCredentials } from '../../model/caller.ts';

export interface TokenReviewsOptions {
  readonly review: TokenReviewer;
  /** The token must be good for one of these. */
  readonly audiences: readonly string[];
  readonly trustDomain: string;
  /** Callers that name another cluster are refused. */
  readonly clusterId: string;
  readonly log: Logger;
}

type TokenOwner = Pick<Caller, 'namespace' | 'serviceAccount' | 'podName' | 'podUid'>;

const MAX_TOKEN_LENGTH = 16_384;
const MAX_REMEMBERED = 4_096;
const MAX_UNDER_WAY = 256;
const GOOD_FOR_MS = 30_000;
const REFUSED_FOR_MS = 2_000;
const ACCOUNTS_GROUP = 'system:serviceaccounts';
const USER = /^system:serviceaccount:([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?):([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$/;
const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';

export class TokenReviews implements Authenticator {
  readonly #options: TokenReviewsOptions;
  readonly #remembered = new LRUCache<string, TokenOwner | 'refused'>({ max: MAX_REMEMBERED });
  readonly #underWay = new Map<string, Promise<TokenOwner | undefined>>();

  constructor(options: TokenReviewsOptions) {
    this.#options = options;
  }

  async authenticate({ token, clusterId }: CallerCredentials): Promise<Caller | undefined> {
    const { clusterId: own, trustDomain } = this.#options;
    if (token === undefined || token.length > MAX_TOKEN_LENGTH || (clusterId !== '' && clusterId !== own))
      return undefined;
    const owner = await this.#owner(token);
    return owner && { ...owner, trustDomain, clusterId: own };
  }

  async #owner(token: string): Promise<TokenOwner | undefined> {
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#remembered.get(key);
    if (known !== undefined) return known === 'refused' ? undefined : known;
    const waiting = this.#underWay.get(key);
    if (waiting) return waiting;
    if (this.#underWay.size >= MAX_UNDER_WAY) {
      this.#options.log.warn('token not reviewed', { error: `${MAX_UNDER_WAY} reviews are under way` });
      return undefined;
    }
    const review = this.#review(token, key).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, review);
    return review;
  }

  async #review(token: string, key: string): Promise<TokenOwner | undefined> {
    const { review, audiences, log } = this.#options;
    try {
      const owner = tokenOwner(await review(token, audiences), audiences);
      this.#remembered.set(key, owner ?? 'refused', { ttl: owner ? GOOD_FOR_MS : REFUSED_FOR_MS });
      return owner;
    } catch (error) {
      log.warn('token not reviewed', { error: errorMessage(error) });
      return undefined;
    }
  }
}

/** The service account that a reviewed token proves, with the pod it is bound to. Pure. */
export function tokenOwner(reviewed: ReviewedToken, audiences: readonly string[]): TokenOwner | undefined {
  if (!reviewed.authenticated || !reviewed.groups.includes(ACCOUNTS_GROUP)) return undefined;
  if (!reviewed.audiences.some((audience) => audiences.includes(audience))) return undefined;
  const [, namespace, , serviceAccount] = USER.exec(reviewed.username) ?? [];
  if (namespace === undefined || serviceAccount === undefined) return undefined;
  const only = (name: string) => (reviewed.extra[name]?.length === 1 ? reviewed.extra[name]?.[0] : undefined);
  return { namespace, serviceAccount, podName: only(POD_NAME), podUid: only(POD_UID) };
}
