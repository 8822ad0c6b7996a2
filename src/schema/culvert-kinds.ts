/** culvert.dev: what no other API of the mesh says. */
import { z } from 'zod';
import { condition, duration, flag, type KindDefinition, name, type Plain, portNumber, text } from './kind.ts';

const targetRef = z.strictObject({ group: text.optional(), kind: name, name });
const value = z.strictObject({
  type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).optional(),
  value: text,
});
const match = z.strictObject({
  path: value.optional(),
  method: name.optional(),
  headers: z
    .array(z.strictObject({ name, type: z.enum(['Exact', 'RegularExpression']).optional(), value: text }))
    .max(16)
    .optional(),
});
const key = z.strictObject({
  type: z.enum(['Route', 'Header', 'SourceIdentity', 'SourceNamespace', 'RemoteIP', 'Method', 'Path', 'Claim']),
  /** Of the header, or the path of the claim with dots between. */
  name: name.optional(),
});
const limit = z.strictObject({
  match: match.optional(),
  keys: z.array(key).max(8).optional(),
  local: z
    .strictObject({
      requests: z.int().min(1).max(1_000_000_000),
      interval: duration,
      burst: z.int().min(1).max(1_000_000_000).optional(),
    })
    .optional(),
  global: z
    .strictObject({
      service: z.strictObject({ name, namespace: name.optional(), port: portNumber }),
      domain: name,
      timeout: duration.optional(),
      failOpen: flag,
    })
    .optional(),
});
const rateLimitPolicySpec = z.strictObject({
  targetRefs: z.array(targetRef).min(1).max(16),
  limits: z.array(limit).min(1).max(32),
});

export type RateLimitPolicySpec = Plain<z.infer<typeof rateLimitPolicySpec>>;
export type RateLimitSpec = Plain<z.infer<typeof limit>>;

export const CULVERT_KINDS: readonly KindDefinition[] = [
  {
    group: 'culvert.dev',
    kind: 'RateLimitPolicy',
    versions: ['v1alpha1'],
    plural: 'ratelimitpolicies',
    serving: 'served',
    body: z.strictObject({
      spec: rateLimitPolicySpec,
      status: z.looseObject({ conditions: z.array(condition).optional() }).optional(),
    }),
    rules: [
      {
        rule: 'self.limits.all(l, has(l.local) || has(l.global))',
        message: 'a limit needs local or global',
        holds: ({ limits }) =>
          (limits as readonly Plain<z.infer<typeof limit>>[]).every((one) => one.local || one.global),
      },
    ],
  },
];
