/** Asks the API server whose token it is. Source: Kubernetes authentication.k8s.io/v1 TokenReview. */
import { MeshError } from '../../core/errors.ts';
import { type ApiClient, refusal } from './api-client.ts';

export interface ReviewedToken {
  readonly authenticated: boolean;
  readonly username: string;
  readonly groups: readonly string[];
  /** Audiences that the token is good for, among those asked for. */
  readonly audiences: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export type TokenReviewer = (token: string, audiences: readonly string[]) => Promise<ReviewedToken>;

/** The reviewer rejects with ERR_SYSTEM when the server gives no verdict. */
export function tokenReviewer(api: ApiClient): TokenReviewer {
  return async (token, audiences) => {
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences } };
    const path = '/apis/authentication.k8s.io/v1/tokenreviews';
    const answer = await api.callPatiently({ method: 'POST', path, body, contentType: 'application/json' });
    if (answer.status !== 201) throw new MeshError('ERR_SYSTEM', `token review: ${refusal(answer)}`);
    return toReviewedToken((answer.body as { status?: unknown } | undefined)?.status);
  };
}

/** Total: what is missing or of another type proves nothing. */
export function toReviewedToken(status: unknown): ReviewedToken {
  const { authenticated, user, audiences } = asFields(status);
  const { username, groups, extra } = asFields(user);
  return {
    authenticated: authenticated === true,
    username: typeof username === 'string' ? username : '',
    groups: asTexts(groups),
    audiences: asTexts(audiences),
    extra: Object.fromEntries(Object.entries(asFields(extra)).map(([name, values]) => [name, asTexts(values)])),
  };
}

function asTexts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function asFields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
