/**
 * AuthorizationPolicy to what a waypoint enforces: complete, all actions. Source: Istio AuthorizationPolicy.
 *
 * A value that cannot be read (an address that is none, a condition nobody knows) never widens what is allowed: its whole
 * rule is left out of ALLOW and AUDIT, and is not asked for in DENY and CUSTOM.
 */
import type { IpRange } from '../../../model/address.ts';
import type {
  HttpAuthorization,
  HttpPolicyRule,
  PolicyCondition,
  PolicyOperation,
  PolicyPath,
  PolicySource,
  TextMatch,
} from '../../../model/l7/index.ts';
import type { AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '../../../schema/index.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { type AuthorizationPolicy, namespaceOf } from '../../resources.ts';
import { parseAccount, parsePort, parseRange } from '../policy-values.ts';

export interface TranslatedAuthorization {
  readonly policy: HttpAuthorization;
  /** What could not be read, for people. */
  readonly faults: readonly string[];
}

type Settings = Pick<MeshSettings, 'trustDomain'>;

export function translateHttpAuthorization(object: AuthorizationPolicy, settings: Settings): TranslatedAuthorization {
  const { spec = {}, metadata } = object;
  const action = spec.action ?? 'ALLOW';
  const faults: string[] = [];
  const rules = (spec.rules ?? []).flatMap((rule) => {
    const reader = new RuleReader(namespaceOf(object), settings);
    const translated = reader.rule(rule ?? {});
    faults.push(...reader.faults);
    return reader.faults.length > 0 && (action === 'ALLOW' || action === 'AUDIT') ? [] : [translated];
  });
  const policy: HttpAuthorization = {
    namespace: namespaceOf(object),
    name: metadata.name,
    action,
    provider: spec.provider?.name ?? '',
    dryRun: metadata.annotations?.['istio.io/dry-run']?.toLowerCase() === 'true',
    rules,
  };
  return { policy, faults };
}

class RuleReader {
  readonly faults: string[] = [];
  readonly #namespace: string;
  readonly #settings: Settings;

  constructor(namespace: string, settings: Settings) {
    this.#namespace = namespace;
    this.#settings = settings;
  }

  rule({ from = [], to = [], when = [] }: AuthorizationRule): HttpPolicyRule {
    return {
      sources: from.map(({ source }) => this.#source(source ?? {})),
      operations: to.map(({ operation }) => this.#operation(operation ?? {})),
      conditions: when.flatMap((condition) => this.#condition(condition)),
    };
  }

  #source(source: AuthorizationSource): PolicySource {
    const accounts = (values: readonly string[] = []) => values.map((value) => parseAccount(value, this.#namespace));
    return {
      principals: this.#principals(source.principals),
      notPrincipals: this.#principals(source.notPrincipals),
      requestPrincipals: toTexts(source.requestPrincipals),
      notRequestPrincipals: toTexts(source.notRequestPrincipals),
      namespaces: toGlobs(source.namespaces),
      notNamespaces: toGlobs(source.notNamespaces),
      serviceAccounts: accounts(source.serviceAccounts),
      notServiceAccounts: accounts(source.notServiceAccounts),
      trustDomains: toGlobs(source.trustDomains),
      notTrustDomains: toGlobs(source.notTrustDomains),
      ipRanges: this.#ranges(source.ipBlocks),
      notIpRanges: this.#ranges(source.notIpBlocks),
      remoteIpRanges: this.#ranges(source.remoteIpBlocks),
      notRemoteIpRanges: this.#ranges(source.notRemoteIpBlocks),
    };
  }

  #operation(operation: AuthorizationOperation): PolicyOperation {
    return {
      hosts: toTexts(operation.hosts, true),
      notHosts: toTexts(operation.notHosts, true),
      ports: this.#ports(operation.ports),
      notPorts: this.#ports(operation.notPorts),
      methods: toTexts(operation.methods),
      notMethods: toTexts(operation.notMethods),
      paths: toPaths(operation.paths),
      notPaths: toPaths(operation.notPaths),
    };
  }

  #condition({ key, values, notValues }: NonNullable<AuthorizationRule['when']>[number]): readonly PolicyCondition[] {
    const none = { key, values: [], notValues: [], ipRanges: [], notIpRanges: [] };
    if (IP_KEYS.has(key)) return [{ ...none, ipRanges: this.#ranges(values), notIpRanges: this.#ranges(notValues) }];
    if (key === 'destination.port') {
      const texts = (given?: readonly string[]) => this.#ports(given).map((port) => toText(String(port), false));
      return [{ ...none, values: texts(values), notValues: texts(notValues) }];
    }
    if (key === 'source.principal') {
      return [{ ...none, values: this.#principals(values), notValues: this.#principals(notValues) }];
    }
    if (key === 'source.serviceAccount') {
      const texts = (given: readonly string[] = []) =>
        given.map((one) => {
          const { namespace, serviceAccount } = parseAccount(one, this.#namespace);
          return toText(`${namespace}/${serviceAccount}`, false);
        });
      return [{ ...none, values: texts(values), notValues: texts(notValues) }];
    }
    if (GLOB_KEYS.has(key)) return [{ ...none, values: toGlobs(values), notValues: toGlobs(notValues) }];
    if (TEXT_KEYS.has(key) || /^request\.headers\[[^\]]+\]$/.test(key) || CLAIM.test(key)) {
      return [{ ...none, values: toTexts(values), notValues: toTexts(notValues) }];
    }
    this.faults.push(`condition ${JSON.stringify(key)}`);
    return [];
  }

  /** `cluster.local` means the mesh's own trust domain as well. */
  #principals(values: readonly string[] = []): readonly TextMatch[] {
    const { trustDomain } = this.#settings;
    return values.flatMap((value) => {
      const [domain = '', ...rest] = value.split('/');
      const isOwn = rest.length === 4 && (domain === 'cluster.local' || domain === trustDomain);
      if (!isOwn || trustDomain === 'cluster.local') return [toText(value, false)];
      return ['cluster.local', trustDomain].map((one) => toText([one, ...rest].join('/'), false));
    });
  }

  #ranges(values: readonly string[] = []): readonly IpRange[] {
    return this.#read(values, parseRange, 'address');
  }

  #ports(values: readonly string[] = []): readonly number[] {
    return this.#read(values, parsePort, 'port');
  }

  #read<T>(values: readonly string[], parse: (text: string) => T | undefined, what: string): readonly T[] {
    return values.flatMap((value) => {
      const parsed = parse(value);
      if (parsed === undefined) this.faults.push(`${what} ${JSON.stringify(value)}`);
      return parsed === undefined ? [] : [parsed];
    });
  }
}

const IP_KEYS: ReadonlySet<string> = new Set(['source.ip', 'remote.ip', 'destination.ip']);
const GLOB_KEYS: ReadonlySet<string> = new Set(['source.namespace', 'source.trustDomain']);
const TEXT_KEYS: ReadonlySet<string> = new Set([
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'connection.sni',
]);
const CLAIM = /^request\.auth\.claims(\[[^\]]+\])+$/;

/** `*`, `*suffix`, `prefix*` or the text itself. */
export function toText(value: string, ignoreCase: boolean): TextMatch {
  if (value === '*') return { kind: 'PRESENCE', value: '', ignoreCase };
  if (value.startsWith('*')) return { kind: 'SUFFIX', value: value.slice(1), ignoreCase };
  if (value.endsWith('*')) return { kind: 'PREFIX', value: value.slice(0, -1), ignoreCase };
  return { kind: 'EXACT', value, ignoreCase };
}

function toTexts(values: readonly string[] = [], ignoreCase = false): readonly TextMatch[] {
  return values.map((value) => toText(value, ignoreCase));
}

/** Texts in which `*` may stand anywhere. */
function toGlobs(values: readonly string[] = []): readonly TextMatch[] {
  return values.map((value): TextMatch => {
    if (!value.slice(1, -1).includes('*') && !(value.length > 1 && value.startsWith('*') && value.endsWith('*'))) {
      return toText(value, false);
    }
    const parts = value.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return { kind: 'REGEX', value: parts.join('.*'), ignoreCase: false };
  });
}

function toPaths(values: readonly string[] = []): readonly PolicyPath[] {
  return values.map((value): PolicyPath => {
    if (value.includes('{*}') || value.includes('{**}')) return { kind: 'TEMPLATE', template: value };
    return { kind: 'MATCH', match: toText(value, false), template: '' };
  });
}
