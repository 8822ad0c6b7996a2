import test from 'ava';
import type { AccessLog } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { HeaderList } from '../http/header-list.ts';
import { compileLog } from './log-format.ts';
import { overridden } from './metric-overrides.ts';

const LOG: AccessLog = {
  provider: 'envoy',
  kind: 'FILE',
  path: '/dev/stdout',
  format: 'TEXT',
  textFormat: '',
  jsonFields: {},
  filter: '',
};
const exchange = {
  method: 'GET',
  requestPath: '/a"b?q=1',
  requestAuthority: 'reviews:80',
  headers: new HeaderList(['user-agent', 'curl"\n', 'x-request-id', 'id']),
  responseHeaders: new HeaderList(['x-envoy-upstream-service-time', '3']),
  downstream: { protocol: 'HTTP/1.1' },
  client: { ip: '10.0.0.1', port: 5, destinationIp: '10.96.0.1', destinationPort: 80 },
  endpoint: undefined,
  cluster: '',
  clusterPort: 0,
  status: 403,
  flag: '',
  details: 'rbac access',
  bytesReceived: 1,
  bytesSent: 2,
  route: undefined,
  grpcStatus: undefined,
} as unknown as Exchange; // what formats read of an exchange
const logged = { exchange, startedAt: new Date(0), durationMs: 4.4 };

test('the default text is Istio’s, and nothing a client sent breaks it', (t) => {
  t.is(
    compileLog(LOG)(logged),
    '[1970-01-01T00:00:00.000Z] "GET /a\\x22b?q=1 HTTP/1.1" 403 - rbac_access - "-" 1 2 4 3 "-" "curl\\x22\\x0a" ' +
      '"id" "reviews:80" "-" - - 10.96.0.1:80 10.0.0.1:5 - -',
  );
});

test('JSON has the same facts, numbers as numbers, and null for what there is not', (t) => {
  const line = JSON.parse(compileLog({ ...LOG, format: 'JSON' })(logged));
  t.like(line, {
    response_code: 403,
    duration: 4,
    authority: 'reviews:80',
    upstream_host: null,
    user_agent: 'curl"\n',
  });
  const own = compileLog({
    ...LOG,
    format: 'JSON',
    jsonFields: { code: '%RESPONSE_CODE%', x: 'a %REQ(X-A?:METHOD)%' },
  });
  t.deepEqual(JSON.parse(own(logged)), { code: 403, x: 'a GET' });
});

test('overrides leave out labels, set literals and turn metrics off', (t) => {
  const labels = { response_code: '200', request_protocol: 'http' };
  const tag = (name: string, operation: 'UPSERT' | 'REMOVE', value = '') => ({ name, operation, value });
  const override = { metric: 'REQUEST_COUNT', disabled: false };
  const tags = [tag('response_code', 'UPSERT'), tag('request_protocol', 'REMOVE'), tag('unknown', 'UPSERT', '"x"')];
  t.deepEqual(overridden('REQUEST_COUNT', labels, [{ ...override, tags }]), { response_code: '200' });
  t.deepEqual(overridden('REQUEST_SIZE', labels, [{ ...override, tags }]), labels);
  const literal = [{ ...override, metric: 'ALL_METRICS', tags: [tag('response_code', 'UPSERT', "'x'")] }];
  t.deepEqual(overridden('REQUEST_SIZE', labels, literal), { ...labels, response_code: 'x' });
  t.is(overridden('REQUEST_SIZE', labels, [{ metric: 'REQUEST_SIZE', disabled: true, tags: [] }]), undefined);
});
