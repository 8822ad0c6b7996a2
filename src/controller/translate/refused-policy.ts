/**
 * What holds in place of an AuthorizationPolicy or PeerAuthentication that cannot be understood and has no good version:
 * its absence would open what it guards, so the strictest reading of it is in force, under its name, until it is mended.
 */
import type { RefusedObject } from '../../kube/index.ts';
import type { Authorization } from '../../model/authorization.ts';
import { type RefusedPolicy, readablePolicy } from '../../schema/index.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { namespaceOf } from '../resources.ts';
import type { TranslatedPolicy } from './authorization-policy.ts';
import { matchOf } from './match.ts';
import { convertedName } from './peer-authentication.ts';

interface Effect extends Pick<Authorization, 'action' | 'rules'> {
  readonly consequence: string;
}

const WITHOUT_IDENTITY = matchOf({ notPrincipals: [{ kind: 'presence' }] });
const EFFECTS = {
  'allow-nothing': { action: 'ALLOW', rules: [], consequence: 'it allows nothing' },
  'deny-all': { action: 'DENY', rules: [{ clauses: [] }], consequence: 'everything is denied' },
  'deny-without-identity': {
    action: 'DENY',
    rules: [{ clauses: [{ matches: [WITHOUT_IDENTITY] }] }],
    consequence: 'callers without an identity are denied',
  },
} as const satisfies Record<string, Effect>;

export function translateRefusedPolicy({ object, reason }: RefusedObject, settings: MeshSettings): TranslatedPolicy {
  const { kind, metadata } = object;
  const namespace = namespaceOf(object);
  const told = (consequence: string) => ({
    kind: { group: 'security.istio.io', kind },
    key: { namespace, name: metadata.name },
    conditions: [
      {
        type: 'ZtunnelAccepted',
        status: 'False' as const,
        reason: 'Invalid',
        message: `The object cannot be understood (${reason}): ${consequence}.`,
      },
    ],
  });
  const nothing = (why: string) => ({ policy: undefined, selector: undefined, status: told(why) });
  const readable = readablePolicy(object as RefusedPolicy); // its spec is unknown there as well
  if (!readable.enforced) return nothing(readable.reason);
  const { selector, dryRun, strictest } = readable;
  if (dryRun && !settings.dryRunPolicies) return nothing('ztunnel does not support dry-run policies');
  const { action, rules, consequence } = EFFECTS[strictest];
  const name = kind === 'PeerAuthentication' ? convertedName(metadata.name) : metadata.name;
  const wide = namespace === settings.rootNamespace ? 'GLOBAL' : 'NAMESPACE';
  return {
    policy: { name, namespace, scope: selector ? 'WORKLOAD_SELECTOR' : wide, action, rules, dryRun },
    selector: {
      key: `${namespace}/${name}`,
      selector: selector ?? {},
      needs: 'TUNNEL',
      listed: selector !== undefined,
    },
    status: told(`${consequence} until it is mended`),
  };
}
