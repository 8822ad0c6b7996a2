import test from 'ava';
import fc from 'fast-check';
import { LogFilter } from './log-filter.ts';
import { type LogSink, LogWriter } from './log-writer.ts';
import { BareText } from './logger.ts';

class Lines implements LogSink {
  readonly lines: string[] = [];
  pendingBytes = 0;
  flushed = 0;
  write(line: string): void {
    this.lines.push(line);
  }
  flush(): void {
    this.flushed += 1;
  }
}
const NOW_US = Date.UTC(2026, 10, 21, 3, 41, 30, 738) * 1_000 + 406;

test('a plain line has time, level, scope, message and fields', (t) => {
  const sink = new Lines();
  const { logger } = new LogWriter({ format: 'plain', filter: 'info', sink, nowUs: () => NOW_US });
  logger.child('access').info('connection complete', {
    'src.addr': new BareText('10.244.1.5:40386'),
    'src.workload': 'front',
    bytes_sent: 77,
    error: undefined,
  });
  t.deepEqual(sink.lines, [
    '2026-11-21T03:41:30.738406Z\tinfo\taccess\tconnection complete\tsrc.addr=10.244.1.5:40386 src.workload="front" bytes_sent=77\n',
  ]);
});

test('a JSON line has the same facts with flat names', (t) => {
  const sink = new Lines();
  const { logger } = new LogWriter({ format: 'json', filter: 'info', sink, nowUs: () => NOW_US });
  logger.child('access', { level: 'not me' }).warn('connection failed', { 'src.addr': new BareText('10.0.0.1:1') });
  t.deepEqual(sink.lines, [
    '{"level":"warn","time":"2026-11-21T03:41:30.738406Z","scope":"access","message":"connection failed","src.addr":"10.0.0.1:1"}\n',
  ]);
});

test('no text of a peer breaks a line', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('plain' as const, 'json' as const), (text, format) => {
      const sink = new Lines();
      new LogWriter({ format, filter: 'info', sink }).logger.info(text, { a: text, b: new BareText(text), c: [text] });
      t.is(sink.lines.length, 1);
      t.is(sink.lines[0]?.trimEnd().split(/[\n\r\u2028\u2029]/).length, 1);
    }),
  );
});

test('the longest matching scope decides', (t) => {
  const filter = new LogFilter('warn,dns=debug,dns::forward=off');
  t.true(filter.allows('dns', 'debug'));
  t.true(filter.allows('dns::cache', 'debug'));
  t.false(filter.allows('dns::forward', 'error'));
  t.false(filter.allows('access', 'info'));
});

test('the filter can be changed, reset, and a bad one changes nothing', (t) => {
  const writer = new LogWriter({ format: 'plain', filter: 'info', sink: new Lines() });
  const access = writer.logger.child('access');
  t.false(access.isLevelEnabled('debug'));
  writer.setFilter('info,access=debug');
  t.true(access.isLevelEnabled('debug'));
  t.throws(() => writer.setFilter('loud'));
  t.throws(() => writer.setFilter('a=b=c'));
  t.is(writer.filter, 'info,access=debug');
  writer.resetFilter('error');
  t.is(writer.filter, 'info,error');
  t.false(access.isLevelEnabled('info'));
});

test('a full buffer is written out before going on', (t) => {
  const sink = new Lines();
  sink.pendingBytes = 9 * 1024 * 1024;
  new LogWriter({ format: 'plain', filter: 'info', sink }).logger.info('one');
  t.is(sink.flushed, 1);
});
