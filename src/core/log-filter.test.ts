import test from 'ava';
import fc from 'fast-check';
import { LogFilter } from './log-filter.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
const rules = fc
  .array(
    fc.tuple(fc.constantFrom('dns', 'dns::forward', 'access', '', '__proto__'), fc.constantFrom(...LEVELS, 'off', 'x')),
    { maxLength: 6 },
  )
  .map((list) => list.map(([scope, level]) => (scope === '' ? level : `${scope}=${level}`)).join(','));

test('any text is a filter or refused, and a filter that shows a level shows all above it', (t) => {
  fc.assert(
    fc.property(fc.oneof(rules, fc.string()), fc.string(), (text, scope) => {
      let filter: LogFilter;
      try {
        filter = new LogFilter(text);
      } catch {
        return t.pass();
      }
      for (const name of [scope, 'dns', 'dns::forward::x', 'constructor']) {
        const shown = LEVELS.map((level) => filter.allows(name, level));
        t.deepEqual(shown, shown.toSorted(), `${name} by ${text}`);
      }
    }),
  );
});

test('a text that is too long is refused', (t) => {
  t.throws(() => new LogFilter('a=info,'.repeat(1_000)), { message: /too long/ });
});
