/**
 * The plugin's request, which any process on the node may send: every field is checked, nothing is believed.
 * Source: Istio CNI event, `POST /cmdadd`.
 */
import { z } from 'zod';
import { MeshError } from '../../core/errors.ts';
import { canonicalIps } from './pod-address.ts';

export interface CmdAddRequest {
  /** Path of the pod's network namespace; that it is the pod's is yet to be proved. */
  readonly netns: string;
  readonly name: string;
  readonly namespace: string;
  /** Canonical; at least one. */
  readonly ips: readonly string[];
}

const PATH_MAX = 4_096;
const IPS_MAX = 64;

const schema = z.object({
  Netns: z
    .string()
    .min(1)
    .max(PATH_MAX)
    .startsWith('/')
    .regex(/^[^\0]*$/),
  PodName: z.string().min(1).max(253),
  PodNamespace: z.string().min(1).max(63),
  IPs: z.array(z.object({ Address: z.object({ IP: z.string() }) })).max(IPS_MAX),
});

/** Throws ERR_MALFORMED with every problem of the body. */
export function parseCmdAdd(body: string): CmdAddRequest {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', 'the request is not JSON', { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'request'}: ${message}`);
    throw new MeshError('ERR_MALFORMED', problems.join('; '));
  }
  const { Netns, PodName, PodNamespace, IPs } = parsed.data;
  const ips = canonicalIps(IPs.map(({ Address }) => Address.IP));
  if (ips.length === 0) throw new MeshError('ERR_MALFORMED', 'IPs: no address of the pod is given');
  return { netns: Netns, name: PodName, namespace: PodNamespace, ips };
}
