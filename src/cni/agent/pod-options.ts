/** Per-pod switches read from annotations. Source: Istio annotation reference; booleans as Go's ParseBool reads them. */
import { asDurationMs } from '../../core/config-reader.ts';
import { BACKEND_NAMES, type BackendName, type CaptureOptions } from '../redirect/port.ts';
import type { Pod } from './pod.ts';
import { readExclusions } from './pod-exclusions.ts';

export interface PodOptions {
  readonly capture: CaptureOptions;
  /** Back-end asked for by `culvert.dev/redirect`. */
  readonly backend?: BackendName;
  /** How long connections may go on when the pod leaves or its tunnel ends. */
  readonly drainMs?: number;
  /** Annotations that could not be used, for the log. */
  readonly problems: readonly string[];
}

export interface CaptureDefaults {
  readonly dnsCapture: boolean;
  readonly ipv6: boolean;
}

const BYPASS = 'ambient.istio.io/bypass-inbound-capture';
const DNS = 'ambient.istio.io/dns-capture';
const VIRTUAL = 'istio.io/reroute-virtual-interfaces';
const DRAIN = 'culvert.dev/drain-duration';
const DRAIN_MAX_MS = 3_600_000;
const REDIRECT = 'culvert.dev/redirect';
const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);
/** Names go into rules: only what a device can be called, and no wildcard. */
const INTERFACE = /^[A-Za-z0-9_.@-]{1,15}$/;
const INTERFACES_MAX = 16;

/** Total: what cannot be read counts as not set. */
export function readPodOptions({ metadata }: Pod, defaults: CaptureDefaults): PodOptions {
  const annotations = metadata.annotations ?? {};
  const problems: string[] = [];
  const flag = (name: string): boolean | undefined => {
    const text = annotations[name];
    if (text === undefined) return undefined;
    if (TRUE.has(text)) return true;
    if (!FALSE.has(text)) problems.push(`${name}: not a boolean`);
    return FALSE.has(text) ? false : undefined;
  };
  const names = (annotations[VIRTUAL] ?? '').split(',').map((name) => name.trim());
  const virtualInterfaces = [...new Set(names.filter((name) => INTERFACE.test(name)))].slice(0, INTERFACES_MAX);
  if (names.some((name) => name !== '' && !virtualInterfaces.includes(name)))
    problems.push(`${VIRTUAL}: not all are names of interfaces, or more than ${INTERFACES_MAX}`);
  const asked = annotations[REDIRECT];
  const backend = BACKEND_NAMES.find((name) => name === asked);
  if (asked !== undefined && backend === undefined)
    problems.push(`${REDIRECT}: not one of ${BACKEND_NAMES.join(', ')}`);
  const drainMs = readDrain(annotations[DRAIN]);
  if (drainMs === undefined && annotations[DRAIN] !== undefined)
    problems.push(`${DRAIN}: not a duration of at most ${DRAIN_MAX_MS / 1_000}s`);
  const { exclusions, problems: unread } = readExclusions(annotations);
  problems.push(...unread);
  return {
    capture: {
      dnsCapture: flag(DNS) ?? defaults.dnsCapture,
      ingressBypass: flag(BYPASS) ?? false,
      virtualInterfaces,
      ipv6: defaults.ipv6,
      ...(exclusions ? { exclusions } : {}),
    },
    ...(backend ? { backend } : {}),
    ...(drainMs === undefined ? {} : { drainMs }),
    problems,
  };
}

function readDrain(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  try {
    const drainMs = asDurationMs(text);
    return drainMs <= DRAIN_MAX_MS ? Math.round(drainMs) : undefined;
  } catch {
    return undefined;
  }
}
