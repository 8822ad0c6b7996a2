/** Label selectors of Kubernetes, parsed once and matched purely. Source: Kubernetes API, LabelSelector. */
import { MeshError } from '../../core/errors.ts';

export type Labels = Readonly<Record<string, string>>;

export interface LabelExpression {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values?: readonly string[];
}

/** An empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly LabelExpression[];
}

export function matchesLabels(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  labels: Labels = {},
): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every((expression) => matchesExpression(expression, labels))
  );
}

/** Throws ERR_MALFORMED when `value` is no selector. */
export function parseLabelSelector(value: unknown): LabelSelector {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) throw malformed('is not an object');
  const { matchLabels = {}, matchExpressions = [], ...rest } = value;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw malformed(`has an unknown field ${unknown}`);
  if (!isRecord(matchLabels) || !Object.values(matchLabels).every((text) => typeof text === 'string'))
    throw malformed('has matchLabels that are no labels');
  if (!Array.isArray(matchExpressions)) throw malformed('has matchExpressions that are no list');
  return { matchLabels: matchLabels as Labels, matchExpressions: matchExpressions.map(parseExpression) };
}

function matchesExpression({ key, operator, values = [] }: LabelExpression, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

function parseExpression(value: unknown): LabelExpression {
  if (!isRecord(value) || typeof value.key !== 'string') throw malformed('has an expression without a key');
  const { key, operator, values = [] } = value;
  if (operator !== 'In' && operator !== 'NotIn' && operator !== 'Exists' && operator !== 'DoesNotExist')
    throw malformed(`has the unknown operator ${String(operator)}`);
  if (!Array.isArray(values) || !values.every((text) => typeof text === 'string'))
    throw malformed('has an expression whose values are no list of texts');
  const needsValues = operator === 'In' || operator === 'NotIn';
  if (needsValues !== values.length > 0) throw malformed(`has ${values.length} values for ${operator}`);
  return { key, operator, values };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(what: string): MeshError {
  return new MeshError('ERR_MALFORMED', `a label selector ${what}`);
}
