import test from 'ava';
import { KINDS } from '../../schema/index.ts';
import { type AccessRule, AGENT_ACCESS, CONTROL_PLANE_ACCESS, TUNNEL_ACCESS, UNTAINT_RULE } from './access.ts';

const RULES = [CONTROL_PLANE_ACCESS, AGENT_ACCESS, TUNNEL_ACCESS]
  .flatMap(({ clusterWide, inNamespace }) => [...clusterWide, ...inNamespace])
  .concat(UNTAINT_RULE);
const READING = new Set(['get', 'list', 'watch']);

function allows(rules: readonly AccessRule[], group: string, resource: string, verb: string): boolean {
  return rules.some(
    ({ groups, resources, verbs, names }) =>
      names === undefined &&
      groups.includes(group) &&
      (resources.includes(resource) || resources.includes('*')) &&
      verbs.includes(verb),
  );
}

test('every rule says what it is for', (t) => {
  for (const rule of RULES) t.true(rule.why.length > 5, JSON.stringify(rule));
});

test('no verb is a wildcard, and a wildcard of resources is for reading', (t) => {
  for (const rule of RULES) {
    t.false(rule.verbs.includes('*') || rule.groups.includes('*'));
    if (rule.resources.includes('*'))
      t.true(
        rule.verbs.every((verb) => READING.has(verb)),
        JSON.stringify(rule),
      );
  }
});

test('no rule stands twice', (t) => {
  for (const { clusterWide, inNamespace } of [CONTROL_PLANE_ACCESS, AGENT_ACCESS]) {
    for (const rules of [clusterWide, inNamespace]) {
      const grants = rules.flatMap(({ groups, resources, verbs, names = [''] }) =>
        groups.flatMap((group) =>
          resources.flatMap((resource) =>
            verbs.flatMap((verb) => names.map((name) => [group, resource, verb, name].join('|'))),
          ),
        ),
      );
      const twice = grants.filter((grant, index) => grants.indexOf(grant) !== index);
      t.deepEqual(twice, []);
    }
  }
});

test('the control plane may read every kind that it serves, and write its status', (t) => {
  const { clusterWide } = CONTROL_PLANE_ACCESS;
  for (const { group, plural, kind, serving } of KINDS.filter((one) => one.serving !== 'passive')) {
    for (const verb of READING) t.true(allows(clusterWide, group, plural, verb), `${verb} ${kind}`);
    const isIstios = group.endsWith('.istio.io');
    if (isIstios) t.true(allows(clusterWide, group, `${plural}/status`, 'patch'), `${serving} ${kind}: status`);
  }
});

test('the agent may change nothing but the status of pods', (t) => {
  const changes = [...AGENT_ACCESS.clusterWide, ...AGENT_ACCESS.inNamespace].filter(({ verbs }) =>
    verbs.some((verb) => !READING.has(verb)),
  );
  t.deepEqual(
    changes.map(({ resources }) => resources),
    [['pods/status']],
  );
});

test('the tunnel has no right in the API', (t) => {
  t.deepEqual([...TUNNEL_ACCESS.clusterWide, ...TUNNEL_ACCESS.inNamespace], []);
});

test('control: a right that nobody was given is not there', (t) => {
  t.false(allows(CONTROL_PLANE_ACCESS.clusterWide, '', 'pods', 'delete'));
  t.false(allows(AGENT_ACCESS.clusterWide, '', 'secrets', 'get'));
});
