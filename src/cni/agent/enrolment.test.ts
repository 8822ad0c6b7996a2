import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_SELECTORS, decideEnrolment, type EnrolmentRules, parseSelectors } from './enrolment.ts';
import type { Labels } from './label-selector.ts';
import type { Namespace, Pod } from './pod.ts';

const RULES: EnrolmentRules = {
  selectors: DEFAULT_SELECTORS,
  excludedNamespaces: new Set(['kube-system']),
  systemNamespace: 'istio-system',
};
const AMBIENT: Labels = { 'istio.io/dataplane-mode': 'ambient' };
const NONE: Labels = { 'istio.io/dataplane-mode': 'none' };

interface Shape {
  readonly labels?: Labels;
  readonly annotations?: Labels;
  readonly namespace?: string;
  readonly namespaceLabels?: Labels;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
}

function pod({
  labels = {},
  annotations = {},
  namespace = 'shop',
  phase = 'Running',
  hostNetwork = false,
}: Shape): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'cart', namespace, labels, annotations },
    spec: { hostNetwork },
    status: { phase },
  };
}

const wanted = test.macro((t, shape: Shape, expected: true | string) => {
  const metadata = { name: shape.namespace ?? 'shop', labels: shape.namespaceLabels ?? {} };
  const namespace: Namespace = { apiVersion: 'v1', kind: 'Namespace', metadata };
  const decision = decideEnrolment(pod(shape), namespace, RULES);
  t.is(decision.wanted ? true : decision.reason, expected);
});
test('nothing selects it', wanted, {}, 'not selected');
test('its own label', wanted, { labels: AMBIENT }, true);
test('the label of its namespace', wanted, { namespaceLabels: AMBIENT }, true);
test('opted out in an ambient namespace', wanted, { namespaceLabels: AMBIENT, labels: NONE }, 'not selected');
test('its own label in a namespace that opted out', wanted, { namespaceLabels: NONE, labels: AMBIENT }, true);
test(
  'another value is no opt-out',
  wanted,
  { namespaceLabels: AMBIENT, labels: { 'istio.io/dataplane-mode': 'x' } },
  true,
);
test('host network', wanted, { labels: AMBIENT, hostNetwork: true }, 'host network');
test(
  'a sidecar, whatever it says',
  wanted,
  { labels: AMBIENT, annotations: { 'sidecar.istio.io/status': '' } },
  'has a sidecar',
);
test('an excluded namespace', wanted, { labels: AMBIENT, namespace: 'kube-system' }, 'namespace is excluded');
test('ended well', wanted, { labels: AMBIENT, phase: 'Succeeded' }, 'has ended');
test('ended badly', wanted, { labels: AMBIENT, phase: 'Failed' }, 'has ended');
test('not started yet', wanted, { labels: AMBIENT, phase: 'Pending' }, true);
test('the tunnel', wanted, { namespace: 'istio-system', labels: { ...AMBIENT, app: 'ztunnel' } }, 'is the tunnel');
test('a pod that is only called so', wanted, { labels: { ...AMBIENT, app: 'ztunnel' } }, true);

test('a pod whose namespace is not known yet counts by its own labels', (t) => {
  t.true(decideEnrolment(pod({ labels: AMBIENT }), undefined, RULES).wanted);
  t.false(decideEnrolment(pod({}), undefined, RULES).wanted);
});

test('the default selectors are those of the chart', (t) => {
  const text = `
- podSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}
- podSelector:
    matchExpressions:
    - key: istio.io/dataplane-mode
      operator: NotIn
      values: [none]
  namespaceSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}
`;
  const full = DEFAULT_SELECTORS.map(({ podSelector, namespaceSelector }) => ({
    podSelector: { matchLabels: {}, matchExpressions: [], ...podSelector },
    namespaceSelector: { matchLabels: {}, matchExpressions: [], ...namespaceSelector },
  }));
  const parsed = parseSelectors(text).map(({ podSelector, namespaceSelector }) => ({
    podSelector,
    namespaceSelector: { matchLabels: {}, matchExpressions: [], ...namespaceSelector },
  }));
  t.deepEqual(parsed, full);
});

const refused = test.macro((t, text: string) => {
  t.throws(() => parseSelectors(text), { code: 'ERR_MALFORMED' });
});
test('refused: not YAML', refused, '{');
test('refused: no list', refused, 'podSelector: {}');
test('refused: a list of texts', refused, '[a]');
test('refused: an unknown operator', refused, '[{podSelector: {matchExpressions: [{key: a, operator: Gt}]}}]');
test('refused: In without values', refused, '[{podSelector: {matchExpressions: [{key: a, operator: In}]}}]');
test('refused: an unknown field', refused, '[{podSelector: {matchLabel: {}}}]');

test('any text is a list of selectors or ERR_MALFORMED', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        parseSelectors(text);
      } catch (error) {
        t.like(error, { code: 'ERR_MALFORMED' });
      }
    }),
  );
  t.pass();
});
