/**
 * `npm run e2e`: the suites that need a Kubernetes API server. They make namespaces of their own, named
 * `culvert-e2e-*`, and remove them; the Istio CRDs and the root ConfigMaps they write stay. Exits 2 without a cluster.
 */
import { spawnSync } from 'node:child_process';
import { access } from 'node:fs/promises';

const file = process.env.KUBECONFIG;
const readable = file
  ? await access(file).then(
      () => true,
      () => false,
    )
  : false;
if (!readable) {
  console.error(
    file ? `KUBECONFIG: cannot read ${file}` : 'KUBECONFIG is not set',
    '\nThese suites need a Kubernetes cluster (1.31 or later) and an account that may do everything in it.',
    '\nAny cluster without a mesh will do (kind, k3s, a cloud): KUBECONFIG=<file> npm run e2e',
  );
  process.exit(2);
}
const run = spawnSync('node', ['scripts/test.ts', '--config', 'ava.e2e.config.js', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
