import test from 'ava';
import fc from 'fast-check';
import { readPodOptions } from './pod-options.ts';

const read = (annotations: Record<string, string>) =>
  readPodOptions(
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'cart', annotations } },
    { dnsCapture: true, ipv6: true },
  );
const DNS = 'ambient.istio.io/dns-capture';
const BYPASS = 'ambient.istio.io/bypass-inbound-capture';
const VIRTUAL = 'istio.io/reroute-virtual-interfaces';

test('the defaults', (t) => {
  t.deepEqual(read({}), {
    capture: { dnsCapture: true, ingressBypass: false, virtualInterfaces: [], ipv6: true },
    problems: [],
  });
});

test('every switch', (t) => {
  const { capture, backend, problems } = read({
    [DNS]: 'F',
    [BYPASS]: '1',
    [VIRTUAL]: 'vm0, docker0,,vm0',
    'culvert.dev/redirect': 'iptables',
  });
  t.deepEqual(capture, { dnsCapture: false, ingressBypass: true, virtualInterfaces: ['vm0', 'docker0'], ipv6: true });
  t.is(backend, 'iptables');
  t.deepEqual(problems, []);
});

const ignored = test.macro((t, annotations: Record<string, string>) => {
  const { problems, ...rest } = read(annotations);
  t.is(problems.length, 1);
  t.deepEqual({ ...rest, problems: [] }, read({}));
});
test('a drain time', (t) => {
  t.is(read({ 'culvert.dev/drain-duration': '90s' }).drainMs, 90_000);
  t.is(read({ 'culvert.dev/drain-duration': '0s' }).drainMs, 0);
  t.is(read({}).drainMs, undefined);
});
test('a drain time without a unit', ignored, { 'culvert.dev/drain-duration': '90' });
test('a drain time without an end', ignored, { 'culvert.dev/drain-duration': '48h' });
test('no boolean', ignored, { [DNS]: 'no' });
test('a boolean of another language', ignored, { [BYPASS]: 'yes' });
test('an unknown back-end', ignored, { 'culvert.dev/redirect': 'tproxy' });
test('a name that would be more than a name in a rule', ignored, { [VIRTUAL]: 'a" accept; #' });
test('a wildcard', ignored, { [VIRTUAL]: 'veth+' });
test('a name longer than a device can have', ignored, { [VIRTUAL]: 'abcdefghijklmnop' });

test('no annotation brings more than names of interfaces into rules', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const name of read({ [VIRTUAL]: text }).capture.virtualInterfaces) t.regex(name, /^[\w.@-]{1,15}$/);
    }),
  );
  t.pass();
});
