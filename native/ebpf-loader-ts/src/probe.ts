/** Asks the running kernel what it can do by trying it; version numbers are not compared. */
import { toBpfError } from './errors.ts';
import { HELPERS, type Helper, MAP_TYPES, type MapType, PROGRAM_TYPES, type ProgramType } from './kernel-names.ts';
import { native } from './native.ts';

export type Feature =
  | { readonly program: ProgramType }
  | { readonly map: MapType }
  /** A helper function in programs of that type. */
  | { readonly helper: Helper; readonly in: ProgramType };

/** Whether the kernel has the feature. Throws EPERM without the privilege to try, EOPNOTSUPP when libbpf cannot tell. */
export function probe(feature: Feature): boolean {
  const result = run(feature);
  if (result < 0) throw toBpfError(result, `probe ${describeFeature(feature)}`);
  return result === 1;
}

/** The feature in words, for messages. */
export function describeFeature(feature: Feature): string {
  if ('program' in feature) return `programs of type ${feature.program}`;
  if ('map' in feature) return `maps of type ${feature.map}`;
  return `helper ${feature.helper} in ${feature.in}`;
}

function run(feature: Feature): number {
  if ('program' in feature) return native.probeProgramType(PROGRAM_TYPES[feature.program]);
  if ('map' in feature) return native.probeMapType(MAP_TYPES[feature.map]);
  return native.probeHelper(PROGRAM_TYPES[feature.in], HELPERS[feature.helper]);
}
