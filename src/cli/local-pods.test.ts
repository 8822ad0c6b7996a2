import test from 'ava';
import type { Pod } from '../local/index.ts';
import { matchPods } from './local-pods.ts';

function pod(name: string, { generateName = '', deleted = false } = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      ...(generateName ? { generateName } : {}),
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    status: { podIP: '10.244.1.2' },
  };
}

const web = pod('web-1a2b-x', { generateName: 'web-1a2b-' });
const website = pod('website-3c4d-y', { generateName: 'website-3c4d-' });
const pods = [website, pod('web-1a2b-old', { generateName: 'web-1a2b-', deleted: true }), web];

const finds = test.macro((t, text: string, found: Pod | undefined) => {
  t.is(matchPods(pods, text), found);
});
test('an exact name is found', finds, 'website-3c4d-y', website);
test('a deployment finds its running pod', finds, 'deploy/web', web);
test('the start of a name is enough', finds, 'webs', website);
test('an unknown name is not found', finds, 'ratings', undefined);
