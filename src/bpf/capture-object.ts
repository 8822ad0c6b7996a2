/**
 * Loads the capture object: constants set, pinned maps of an earlier run used again.
 *
 * A pinned map that no longer fits is replaced by a new one with its entries copied, as long as keys and values have the
 * same size; otherwise loading fails and what is attached goes on with the old programs and maps.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpfMap, BpfObject, type BpfProgram, unpin } from 'ebpf-loader-ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { DNS_PORT, INBOUND_HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT } from '../model/ports.ts';
import { addressKey } from './layout.ts';

/** Programs attached once per node, in the order of attachment: connections are redirected last, when all else stands. */
export const NODE_PROGRAMS = [
  'capture_app',
  'capture_bind4',
  'capture_bind6',
  'capture_getpeername4',
  'capture_getpeername6',
  'capture_recvmsg4',
  'capture_recvmsg6',
  'capture_sendmsg4',
  'capture_sendmsg6',
  'capture_connect4',
  'capture_connect6',
] as const;
export const INBOUND_PROGRAM = 'capture_inbound';
export const TUNNEL_SOCKOPS = ['capture_tunnel_0', 'capture_tunnel_1'] as const;
export const TUNNEL_GETSOCKOPT = 'capture_getsockopt';
const PROGRAMS = [...NODE_PROGRAMS, INBOUND_PROGRAM, ...TUNNEL_SOCKOPS, TUNNEL_GETSOCKOPT];

/** Maps whose content decides and must survive; the others hold what lives for one handshake, or belongs to sockets. */
const MAPS = [
  'pods',
  'owners',
  'excluded_ports',
  'excluded_ranges',
  'tunnels',
  'current_slot',
  'listeners',
  'originals',
  'origins',
  'tunnel_connections',
  'counters',
  'event_times',
  'events',
] as const;
export type CaptureMapName = (typeof MAPS)[number];
const COPYABLE: ReadonlySet<CaptureMapName> = new Set([
  'pods',
  'owners',
  'excluded_ports',
  'excluded_ranges',
  'tunnels',
  'current_slot',
  'tunnel_connections',
]);
/** Socket maps and the ring belong to running sockets and readers: another shape cannot be carried over. */
const RENEWABLE: ReadonlySet<CaptureMapName> = new Set(['origins', 'counters', 'event_times', 'events']);

/** Source addresses of kubelet probes after the host rewrote them. Source: Istio ambient, host SNAT. */
export const PROBE_IPS = ['169.254.7.127', 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff'] as const;

const OBJECT_PATH = fileURLToPath(new URL('../../native/bpf/build/capture.o', import.meta.url));

export interface LoadedObject {
  readonly programs: ReadonlyMap<string, BpfProgram>;
  readonly maps: ReadonlyMap<CaptureMapName, BpfMap>;
  /** Makes the pins lead to the maps in use. Call when all links run the new programs. */
  readonly pinMaps: () => void;
}

export interface LoadOptions {
  /** Folder of the pinned maps; undefined loads without looking at or making pins. */
  readonly mapDir: string | undefined;
  /** Sizes of maps, for tests. */
  readonly maxEntries?: Partial<Record<CaptureMapName, number>>;
}

/** The caller disposes the programs and maps. Throws ERR_UNSUPPORTED with the verifier's last line. */
export function loadCaptureObject({ mapDir, maxEntries = {} }: LoadOptions): LoadedObject {
  using object = open();
  object.setRodata({
    outbound_port: OUTBOUND_PORT,
    inbound_port: INBOUND_PLAINTEXT_PORT,
    hbone_port: INBOUND_HBONE_PORT,
    dns_port: DNS_PORT,
    probe_ip4: addressKey(PROBE_IPS[0]),
    probe_ip6: addressKey(PROBE_IPS[1]),
  });
  for (const name of MAPS) {
    const count = maxEntries[name];
    if (count !== undefined) object.setMaxEntries(name, count);
  }
  const replaced = mapDir === undefined ? new Map<CaptureMapName, BpfMap>() : reuseMaps(object, mapDir);
  try {
    object.load();
  } catch (cause) {
    throw new MeshError('ERR_UNSUPPORTED', `cannot load the capture programs: ${errorMessage(cause)}`, { cause });
  }
  const maps = new Map(MAPS.map((name) => [name, object.map(name)]));
  for (const [name, old] of replaced) {
    const map = maps.get(name);
    if (map !== undefined && COPYABLE.has(name)) for (const [key, value] of old.entries()) map.set(key, value);
    old[Symbol.dispose]();
  }
  return {
    programs: new Map(PROGRAMS.map((name) => [name, object.program(name)])),
    maps,
    pinMaps: () => {
      if (mapDir !== undefined) pinMaps(mapDir, maps, new Set(replaced.keys()));
    },
  };
}

function open(): BpfObject {
  if (!existsSync(OBJECT_PATH)) {
    throw new MeshError('ERR_UNSUPPORTED', 'the capture programs are not built; run: npm run build:native');
  }
  return BpfObject.open(readFileSync(OBJECT_PATH), { name: 'culvert' });
}

/** Returns the pinned maps that do not fit and are to be replaced. */
function reuseMaps(object: BpfObject, mapDir: string): Map<CaptureMapName, BpfMap> {
  const replaced = new Map<CaptureMapName, BpfMap>();
  for (const wanted of object.maps) {
    const name = MAPS.find((candidate) => candidate === wanted.name);
    const path = join(mapDir, wanted.name);
    if (name === undefined || !existsSync(path)) continue;
    const map = BpfMap.openPinned(path);
    if (map.fits(wanted)) {
      object.reuseMap(name, map);
      map[Symbol.dispose]();
      continue;
    }
    const sameEntries =
      map.keySize === wanted.keySize && map.valueSize === wanted.valueSize && map.type === wanted.type;
    if (!RENEWABLE.has(name) && !(COPYABLE.has(name) && sameEntries)) {
      throw new MeshError(
        'ERR_UNSUPPORTED',
        `the pinned map ${path} has another shape; release the pods and uninstall first`,
      );
    }
    replaced.set(name, map);
  }
  return replaced;
}

function pinMaps(dir: string, maps: ReadonlyMap<CaptureMapName, BpfMap>, replaced: ReadonlySet<CaptureMapName>): void {
  mkdirSync(dir, { recursive: true });
  for (const [name, map] of maps) {
    const path = join(dir, name);
    if (replaced.has(name)) unpin(path);
    if (!existsSync(path)) map.pin(path);
  }
}
