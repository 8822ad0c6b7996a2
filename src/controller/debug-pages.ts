/** What the control plane knows, as JSON for a person or a support bundle. No secrets. */
import { type HttpAnswer, textAnswer } from '../core/http-listener.ts';
import type { ManifestProblem } from '../kube/index.ts';
import type { DiscoveryService } from '../xds/index.ts';
import { type MeshIR, workloadsOf } from './ir.ts';
import type { ReplicaReport } from './status/distribution.ts';
import { REPORT_PATH } from './status/peer-reports.ts';

export interface DebugSources {
  readonly loop: { readonly ir: MeshIR; readonly report: ReplicaReport };
  readonly discovery: DiscoveryService;
  readonly problems: () => readonly ManifestProblem[];
}

/** `/debug/ir`, `/debug/syncz` (who runs what), `/debug/distribution` (for other replicas), `/debug/problems`; anything else is 404. */
export function debugAnswer(path: string, { loop, discovery, problems }: DebugSources): HttpAnswer {
  switch (path) {
    case '/debug/ir':
      return json({ workloads: workloadsOf(loop.ir), services: loop.ir.services, policies: loop.ir.policies });
    case '/debug/syncz':
      return json(discovery.subscribers());
    case REPORT_PATH:
      return json(loop.report);
    case '/debug/problems':
      return json(problems());
    default:
      return textAnswer(404, 'not found\n');
  }
}

function json(value: unknown): HttpAnswer {
  const body = JSON.stringify(value, (_key, item) => (item instanceof Map ? Object.fromEntries(item) : item), 2);
  return { status: 200, headers: { 'content-type': 'application/json' }, body: `${body}\n` };
}
