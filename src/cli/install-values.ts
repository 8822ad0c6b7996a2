/** What is to be installed, from files and flags. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { errorMessage, MeshError } from '../core/errors.ts';
import { type InstallValues, mergeValues, parseValues, readInstallFile } from '../install/index.ts';

export interface ValueFlags {
  readonly namespace: string;
  readonly filename: readonly string[];
  readonly set: readonly string[];
  readonly hub?: string;
  readonly tag?: string;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function withValueOptions(command: Command): Command {
  return command
    .option('-f, --filename <file>', 'values, or an IstioOperator; may be repeated', collect, [])
    .option('--set <path=value>', 'one value; may be repeated', collect, [])
    .option('--hub <hub>', 'registry and folder of the images')
    .option('--tag <tag>', 'version of the images');
}

/** Later files and flags win. Rejects with ERR_CONFIG. */
export async function readValues(
  { namespace: byFlag, filename, set, hub, tag }: ValueFlags,
  version: string,
): Promise<{ readonly values: InstallValues; readonly namespace: string; readonly warnings: readonly string[] }> {
  let given: unknown = {};
  let namespace = byFlag;
  const warnings: string[] = [];
  for (const file of filename) {
    const text = await readFile(file, 'utf8').catch((cause) => {
      throw new MeshError('ERR_CONFIG', `${file} cannot be read: ${errorMessage(cause)}`, { cause });
    });
    const read = readInstallFile(text, file);
    given = mergeValues(given, read.values);
    namespace = read.namespace ?? namespace;
    warnings.push(...read.warnings);
  }
  for (const setting of set) given = mergeValues(given, parseSetting(setting));
  given = mergeValues(given, { global: { ...(hub ? { hub } : {}), ...(tag ? { tag } : {}) } });
  return { values: parseValues(given, version), namespace, warnings };
}

/** `a.b=3` as a tree; the value is YAML. */
function parseSetting(text: string): unknown {
  const at = text.indexOf('=');
  if (at < 1) throw new MeshError('ERR_CONFIG', `--set ${text}: expected path=value`);
  const steps = text.slice(0, at).split('.').reverse();
  return steps.reduce<unknown>((inner, step) => ({ [step]: inner }), parse(text.slice(at + 1)));
}
