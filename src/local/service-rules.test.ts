import test from 'ava';
import type { Pod, Service } from './kinds.ts';
import { serviceRules, serviceScript } from './service-rules.ts';

function pod(name: string, { ips = ['10.244.1.2'], ready = true, app = 'web' } = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app } },
    spec: { containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }] },
    status: {
      podIPs: ips.map((ip) => ({ ip })),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  };
}

function service(spec: Service['spec'] & object): Service {
  const defaults = { selector: { app: 'web' }, clusterIP: '10.96.0.20', ports: [{ port: 80, targetPort: 'http' }] };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { ...defaults, ...spec },
  };
}

test('a service leads to its ready pods on the named port', (t) => {
  const pods = [pod('a'), pod('b', { ips: ['10.244.2.2'] }), pod('c', { ready: false }), pod('d', { app: 'other' })];
  t.deepEqual(serviceRules([service({})], pods), [
    {
      ip: '10.96.0.20',
      protocol: 'tcp',
      port: 80,
      endpoints: [
        { ip: '10.244.1.2', port: 8080 },
        { ip: '10.244.2.2', port: 8080 },
      ],
    },
  ]);
});

test('a terminating pod gets no new connection', (t) => {
  const ending = pod('a');
  const pods = [{ ...ending, metadata: { ...ending.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }];
  t.deepEqual(serviceRules([service({})], pods)[0]?.endpoints, []);
});

test('families are kept apart', (t) => {
  const both = service({ clusterIPs: ['10.96.0.20', 'fd00:10:96::14'] });
  const rules = serviceRules([both], [pod('a', { ips: ['10.244.1.2', 'fd00:10:244:1::2'] })]);
  t.deepEqual(
    rules.map((rule) => [rule.ip, rule.endpoints[0]?.ip]),
    [
      ['10.96.0.20', '10.244.1.2'],
      ['fd00:10:96::14', 'fd00:10:244:1::2'],
    ],
  );
});

test('headless and selectorless services have no endpoints', (t) => {
  t.deepEqual(serviceRules([service({ clusterIP: 'None' })], [pod('a')]), []);
  t.deepEqual(serviceRules([service({ selector: {} })], [pod('a')])[0]?.endpoints, []);
});

test('a script translates served ports, refuses unserved ones and hides a pod that calls itself', (t) => {
  const rules = serviceRules(
    [service({}), service({ clusterIP: '10.96.0.21', selector: { app: 'none' } })],
    [pod('a')],
  );
  const script = serviceScript(rules);
  t.regex(
    script,
    /ip daddr 10\.96\.0\.20 tcp dport 80 dnat ip to numgen random mod 1 map \{ 0 : 10\.244\.1\.2 \. 8080 \}/,
  );
  t.regex(script, /ip daddr 10\.96\.0\.21 tcp dport 80 reject with tcp reset/);
  t.regex(script, /ct status dnat ip saddr 10\.244\.1\.2 ip daddr 10\.244\.1\.2 masquerade/);
});

test('the order of services and pods does not change the script', (t) => {
  const services = [service({}), service({ clusterIP: '10.96.0.21' })];
  t.is(
    serviceScript(serviceRules(services, [pod('a')])),
    serviceScript(serviceRules(services.toReversed(), [pod('a')])),
  );
});
