import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { parseChildren, parseDer, parseOid, parseTime, parseUnsigned } from './der.ts';

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const refuses = test.macro((t, hex: string) => {
  t.throws(() => parseChildren(parseDer(bytes(hex))), { code: 'ERR_MALFORMED' });
});
test('nothing is refused', refuses, '');
test('a lone tag is refused', refuses, '30');
test('a length beyond the end is refused', refuses, '3005020101');
test('an indefinite length is refused', refuses, '30800000');
test('a length of five bytes is refused', refuses, '3085000000000102');
test('a truncated length is refused', refuses, '308201');
test('a tag of several bytes is refused', refuses, '3f8101020101');
test('bytes behind the element are refused', refuses, '300300');
test('a child beyond its parent is refused', refuses, '3003020501');
test('a primitive has no children', refuses, '020101');

test('object identifiers', (t) => {
  t.is(parseOid(parseDer(bytes('06082a8648ce3d040302'))), '1.2.840.10045.4.3.2');
  t.is(parseOid(parseDer(bytes('0603551d11'))), '2.5.29.17');
});
test('integers', (t) => {
  t.is(parseUnsigned(parseDer(bytes('02020100'))), 256n);
  t.throws(() => parseUnsigned(parseDer(bytes('0200'))), { code: 'ERR_MALFORMED' });
});
const time = (tag: string, text: string) =>
  parseDer(Buffer.concat([bytes(tag), Buffer.from([text.length]), Buffer.from(text)]));
test('times', (t) => {
  t.is(parseTime(time('17', '261121043206Z')), Date.UTC(2026, 10, 21, 4, 32, 6));
  t.is(parseTime(time('17', '991231235959Z')), Date.UTC(1999, 11, 31, 23, 59, 59));
  t.is(parseTime(time('18', '20610101000000Z')), Date.UTC(2061, 0, 1));
  t.throws(() => parseTime(time('17', '2611210432Z')), { code: 'ERR_MALFORMED' });
  t.throws(() => parseTime(time('18', '261121043206Z')), { code: 'ERR_MALFORMED' });
});

test('whatever the bytes are, the reader answers or refuses', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
      try {
        const element = parseDer(input);
        return element.encoding.length === input.length && parseChildren(element).length <= input.length;
      } catch (error) {
        return error instanceof MeshError && error.code === 'ERR_MALFORMED';
      }
    }),
    { numRuns: 1_000 },
  );
  t.pass();
});
