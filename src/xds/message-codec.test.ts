import test from 'ava';
import fc from 'fast-check';
import {
  decodeDeltaRequest,
  decodeDeltaResponse,
  encodeDeltaRequest,
  encodeDeltaResponse,
  encodeResource,
} from './message-codec.ts';

test('messages survive the wire', (t) => {
  const strings = fc.array(fc.string());
  const requests = fc.record({
    typeUrl: fc.string(),
    subscribe: strings,
    unsubscribe: strings,
    initialVersions: fc
      .array(fc.tuple(fc.stringMatching(/^[a-z/.]{1,8}$/), fc.string()))
      .map((entries) => new Map(entries)),
    responseNonce: fc.string(),
  });
  fc.assert(fc.property(requests, (value) => void t.deepEqual(decodeDeltaRequest(encodeDeltaRequest(value)), value)));
  const resource = fc.record({
    name: fc.string(),
    version: fc.string(),
    aliases: strings,
    typeUrl: fc.string(),
    bytes: fc.uint8Array(),
  });
  const responses = fc.record({
    typeUrl: fc.string(),
    nonce: fc.string(),
    systemVersion: fc.string(),
    resources: fc.array(resource),
    removed: strings,
  });
  fc.assert(
    fc.property(responses, (value) => {
      const encoded = encodeDeltaResponse({ ...value, resources: value.resources.map(encodeResource) });
      t.deepEqual(decodeDeltaResponse(Uint8Array.from(encoded)), value);
    }),
  );
});
test('foreign bytes are decoded or refused', (t) => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      for (const decode of [decodeDeltaRequest, decodeDeltaResponse]) {
        try {
          decode(bytes);
        } catch (error) {
          if (!(error instanceof Error) || !('code' in error) || error.code !== 'ERR_MALFORMED') throw error;
        }
      }
    }),
  );
  t.pass();
});
