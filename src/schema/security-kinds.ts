/** security.istio.io: AuthorizationPolicy, PeerAuthentication, RequestAuthentication. Source: Istio API v1. */
import { z } from 'zod';
import {
  type CelRule,
  condition,
  countOf,
  duration,
  flag,
  type intOrString,
  type KindDefinition,
  labels,
  name,
  type Plain,
  text,
  texts,
} from './kind.ts';

const workloadSelector = z.strictObject({ matchLabels: labels.optional() });
const targetRef = z.strictObject({
  group: text.optional(),
  kind: name,
  name,
  namespace: text.optional(),
});
/** Conditions of Istio's kinds; the control plane alone writes them, so their shape is not judged. */
const status = z.looseObject({ conditions: z.array(condition).optional() }).optional();

const source = z.strictObject({
  principals: texts,
  notPrincipals: texts,
  requestPrincipals: texts,
  notRequestPrincipals: texts,
  namespaces: texts,
  notNamespaces: texts,
  serviceAccounts: texts,
  notServiceAccounts: texts,
  ipBlocks: texts,
  notIpBlocks: texts,
  remoteIpBlocks: texts,
  notRemoteIpBlocks: texts,
  trustDomains: texts,
  notTrustDomains: texts,
});

const operation = z.strictObject({
  hosts: texts,
  notHosts: texts,
  ports: texts,
  notPorts: texts,
  methods: texts,
  notMethods: texts,
  paths: texts,
  notPaths: texts,
});

const rule = z.strictObject({
  from: z.array(z.strictObject({ source: source.optional() })).optional(),
  to: z.array(z.strictObject({ operation: operation.optional() })).optional(),
  when: z.array(z.strictObject({ key: name, values: texts, notValues: texts })).optional(),
});

const authorizationPolicySpec = z.strictObject({
  selector: workloadSelector.optional(),
  targetRef: targetRef.optional(),
  targetRefs: z.array(targetRef).max(16).optional(),
  action: z.enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']).optional(),
  provider: z.strictObject({ name: text.optional() }).optional(),
  rules: z.array(rule.nullable()).max(512).optional(),
});

/** Fields of an AuthorizationPolicy's spec. */
export const AUTHORIZATION_POLICY_FIELDS: readonly string[] = Object.keys(authorizationPolicySpec.shape);

const mtls = z.strictObject({ mode: z.enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']).optional() });
const peerAuthenticationSpec = z.strictObject({
  selector: workloadSelector.optional(),
  mtls: mtls.optional(),
  portLevelMtls: z.record(z.string().regex(/^\d{1,5}$/, 'is not a port'), mtls).optional(),
});

const jwtHeader = z.strictObject({ name, prefix: text.optional() });
const jwtRule = z.strictObject({
  issuer: name,
  audiences: texts,
  jwksUri: text.optional(),
  jwks_uri: text.optional(),
  jwks: text.optional(),
  fromHeaders: z.array(jwtHeader).optional(),
  fromParams: texts,
  fromCookies: texts,
  outputPayloadToHeader: text.optional(),
  forwardOriginalToken: flag,
  outputClaimToHeaders: z.array(z.strictObject({ header: name, claim: name })).optional(),
  spaceDelimitedClaims: texts,
  timeout: duration.optional(),
});
const requestAuthenticationSpec = z.strictObject({
  selector: workloadSelector.optional(),
  targetRef: targetRef.optional(),
  targetRefs: z.array(targetRef).max(16).optional(),
  jwtRules: z.array(jwtRule).max(4_096).optional(),
});

export type AuthorizationPolicySpec = Plain<z.infer<typeof authorizationPolicySpec>>;
export type AuthorizationRule = Plain<z.infer<typeof rule>>;
export type AuthorizationSource = Plain<z.infer<typeof source>>;
export type AuthorizationOperation = Plain<z.infer<typeof operation>>;
export type RequestAuthenticationSpec = Plain<z.infer<typeof requestAuthenticationSpec>>;
export type PeerAuthenticationSpec = Plain<z.infer<typeof peerAuthenticationSpec>>;
export type PortOrName = z.infer<typeof intOrString>;

const VERSIONS = ['v1', 'v1beta1'] as const;
const ONE_TARGET: CelRule = {
  rule: '(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0) <= 1',
  message: 'only one of targetRefs or selector can be set',
  holds: (spec) => countOf(spec, 'selector', 'targetRef', 'targetRefs') <= 1,
};

export const SECURITY_KINDS: readonly KindDefinition[] = [
  {
    group: 'security.istio.io',
    kind: 'AuthorizationPolicy',
    versions: VERSIONS,
    plural: 'authorizationpolicies',
    shortNames: ['ap'],
    serving: 'served',
    body: z.strictObject({ spec: authorizationPolicySpec.optional(), status }),
    rules: [ONE_TARGET],
  },
  {
    group: 'security.istio.io',
    kind: 'PeerAuthentication',
    versions: VERSIONS,
    plural: 'peerauthentications',
    shortNames: ['pa'],
    serving: 'served',
    body: z.strictObject({ spec: peerAuthenticationSpec.optional(), status }),
    rules: [
      {
        rule: '!has(self.portLevelMtls) || has(self.selector)',
        message: 'portLevelMtls requires a selector',
        holds: (spec) => spec.portLevelMtls === undefined || spec.selector !== undefined,
      },
    ],
  },
  {
    group: 'security.istio.io',
    kind: 'RequestAuthentication',
    versions: VERSIONS,
    plural: 'requestauthentications',
    shortNames: ['ra'],
    serving: 'served',
    body: z.strictObject({ spec: requestAuthenticationSpec.optional(), status }),
    rules: [ONE_TARGET],
  },
];
