import { X509Certificate } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { parseCertificate, peerIdentities } from './certificate.ts';
import { buildCertificate, buildCertificateRequest, nameDer, type SubjectNames } from './certificate-builder.ts';
import { parseCertificateRequest } from './certificate-request.ts';
import { CERTIFICATE, CERTIFICATE_REQUEST, parsePem, toPem } from './pem.ts';
import { PrivateKey } from './private-key.ts';
import { isSignedBy } from './signature.ts';

const URI = 'spiffe://cluster.local/ns/shop/sa/cart';
const signer = await PrivateKey.generate();
const key = await PrivateKey.generate();
const START = Date.UTC(2026, 0, 1);
const END = Date.UTC(2061, 5, 1);

function certificate(names: SubjectNames): Buffer {
  const template = { publicKeyDer: key.publicKeyDer, names, notBeforeMs: START, notAfterMs: END, isCa: false };
  const pem = buildCertificate(template, { key: signer, subject: nameDer('cluster.local') });
  return parsePem(pem, CERTIFICATE)[0] ?? Buffer.alloc(0);
}

test('what is built is what is read, here and by the platform', (t) => {
  const der = certificate({ uris: [URI], dnsNames: ['a.test'] });
  const read = parseCertificate(der);
  t.deepEqual(read.uriNames, [URI]);
  t.deepEqual(read.dnsNames, ['a.test']);
  t.is(read.notBeforeMs, START);
  t.is(read.notAfterMs, END); // written as GeneralizedTime
  t.false(read.isCa);
  t.true(isSignedBy(der, signer.publicKeyDer));
  t.false(isSignedBy(der, key.publicKeyDer));
  const platform = new X509Certificate(der);
  t.is(platform.serialNumber, read.serial.toString(16).toUpperCase());
  t.falsy(platform.subject);
  t.is(platform.validToDate.getTime(), END);
  t.deepEqual(platform.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
});

const identities = test.macro((t, uris: readonly string[], expected: readonly string[]) => {
  t.deepEqual(
    peerIdentities(certificate({ uris })).map(({ trustDomain, namespace, serviceAccount }) =>
      [trustDomain, namespace, serviceAccount].join(' '),
    ),
    expected,
  );
});
test('the identity is the URI name', identities, [URI], ['cluster.local shop cart']);
test(
  'two identities keep their order',
  identities,
  [URI, 'spiffe://b/ns/c/sa/d'],
  ['cluster.local shop cart', 'b c d'],
);
test('a URI of another form is skipped', identities, ['https://a/', URI], ['cluster.local shop cart']);
test('a name cannot pose as two', identities, [`x, URI:${URI}`], []);
test('without names there is nobody', identities, [], []);

test('a DNS name is no identity', (t) => {
  t.deepEqual(peerIdentities(certificate({ dnsNames: [URI] })), []);
});
test('a name with a line feed or NUL refuses the certificate', (t) => {
  t.throws(() => peerIdentities(certificate({ uris: [`${URI}\0.evil`] })), { code: 'ERR_MALFORMED' });
  t.throws(() => peerIdentities(certificate({ uris: [`${URI}\n`] })), { code: 'ERR_MALFORMED' });
});

test('a request is read and its signature checked', (t) => {
  const request = parseCertificateRequest(buildCertificateRequest({ uris: [URI] }, key));
  t.deepEqual(request.uriNames, [URI]);
  t.deepEqual(Buffer.from(request.publicKeyDer), key.publicKeyDer);
});
const refusesRequest = test.macro((t, pem: string) => {
  t.throws(() => parseCertificateRequest(pem), { code: 'ERR_MALFORMED' });
});
const requestDer = parsePem(buildCertificateRequest({ uris: [URI] }, key), CERTIFICATE_REQUEST)[0] ?? Buffer.alloc(0);
const tampered = Buffer.from(requestDer);
tampered[60] = (tampered[60] ?? 0) ^ 1; // inside the key
test('an empty request is refused', refusesRequest, '');
test('a request with another signature is refused', refusesRequest, toPem(tampered, CERTIFICATE_REQUEST));
test('a certificate is not a request', refusesRequest, toPem(certificate({ uris: [URI] }), CERTIFICATE));
test('two requests are refused', refusesRequest, toPem(requestDer, CERTIFICATE_REQUEST).repeat(2));
test('a request that does not end is refused', refusesRequest, '-----BEGIN CERTIFICATE REQUEST-----\nAAAA');
test('a request of a megabyte is refused', refusesRequest, toPem(Buffer.alloc(1_000_000), CERTIFICATE_REQUEST));

test('random and damaged bytes never crash the parsers', (t) => {
  const valid = certificate({ uris: [URI] });
  const damaged = fc
    .tuple(fc.constantFrom(valid, requestDer), fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }))
    .map(([der, changes]) => {
      const copy = Buffer.from(der);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (der) => {
      for (const parse of [peerIdentities, () => parseCertificateRequest(toPem(der, CERTIFICATE_REQUEST))]) {
        try {
          parse(der);
        } catch (error) {
          if (!(error instanceof MeshError) || error.code !== 'ERR_MALFORMED') throw error;
        }
      }
      isSignedBy(der, key.publicKeyDer);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('random text never crashes the request parser', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      t.throws(
        () => parseCertificateRequest(`-----BEGIN CERTIFICATE REQUEST-----${text}-----END CERTIFICATE REQUEST-----`),
        {
          instanceOf: MeshError,
        },
      );
    }),
  );
});

test('a private key does not show itself', (t) => {
  t.is(`${key}`, '[redacted]');
  t.is(JSON.stringify({ key }), '{"key":"[redacted]"}');
});
