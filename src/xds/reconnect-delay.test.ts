import { status } from '@grpc/grpc-js';
import test from 'ava';
import { type Reconnect, reconnectDelay, type StreamEnd } from './reconnect-delay.ts';

const waits = test.macro(
  (t, end: StreamEnd, before: number, expected: readonly [number, number, Reconnect['reason']]) => {
    const { delayMs, backoffMs, reason } = reconnectDelay(end, before);
    t.deepEqual([delayMs, backoffMs, reason], expected);
  },
);
const ended = (code: number, details = ''): StreamEnd => ({ kind: 'status', code, details });
test('the first failure to connect waits 20 ms', waits, { kind: 'not-opened' }, 10, [20, 20, 'ConnectionError']);
test('the next one waits twice as long', waits, { kind: 'not-opened' }, 20, [40, 40, 'ConnectionError']);
test('a server that is away is asked again every half second', waits, { kind: 'not-opened' }, 15_000, [
  500,
  500,
  'ConnectionError',
]);
test('CANCELLED reconnects soon', waits, ended(status.CANCELLED), 640, [10, 10, 'Reconnect']);
test('UNKNOWN reconnects soon', waits, ended(status.UNKNOWN), 640, [10, 10, 'Reconnect']);
test('DEADLINE_EXCEEDED reconnects soon', waits, ended(status.DEADLINE_EXCEEDED), 640, [10, 10, 'Reconnect']);
test('a closing transport reconnects soon', waits, ended(status.UNAVAILABLE, 'transport is closing'), 640, [
  10,
  10,
  'Reconnect',
]);
test('a GOAWAY reconnects soon', waits, ended(status.UNAVAILABLE, 'received prior goaway: x'), 640, [
  10,
  10,
  'Reconnect',
]);
test('UNAVAILABLE of another kind backs off', waits, ended(status.UNAVAILABLE), 640, [1_280, 1_280, 'Error']);
test('INTERNAL backs off, up to 15 s', waits, ended(status.INTERNAL), 14_000, [15_000, 15_000, 'Error']);
test('any other error waits not at all', waits, { kind: 'failed' }, 640, [0, 10, 'Error']);
test('an orderly end waits not at all', waits, { kind: 'complete' }, 640, [0, 10, 'Complete']);
