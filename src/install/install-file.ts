/**
 * Files that say what to install: our own values, or an IstioOperator. What has no counterpart here is named in a
 * warning, never silently dropped. Source: Istio operator API v1alpha1, Istio chart values.
 */
import { type Document, parseAllDocuments } from 'yaml';
import { errorMessage, MeshError } from '../core/errors.ts';
import { operatorValues } from './operator.ts';
import { isMap, mergeValues } from './values.ts';

export interface InstallFile {
  readonly values: unknown;
  readonly namespace?: string;
  readonly warnings: readonly string[];
}

/** Total in what it ignores; throws ERR_CONFIG for text that is not YAML, and for documents that are no maps. */
export function readInstallFile(text: string, file: string): InstallFile {
  let values: unknown = {};
  let namespace: string | undefined;
  const warnings: string[] = [];
  for (const document of parseAllDocuments(text)) {
    const content = contentOf(document, file);
    if (content === null || content === undefined) continue;
    if (!isMap(content)) throw new MeshError('ERR_CONFIG', `${file}: values must be a map`);
    const isObject = typeof content.apiVersion === 'string' && typeof content.kind === 'string';
    if (!isObject) {
      values = mergeValues(values, content);
      continue;
    }
    if (content.kind !== 'IstioOperator') {
      warnings.push(`${file}: ${content.kind} is not about the installation and is left to kubectl apply`);
      continue;
    }
    const read = operatorValues(content, file);
    values = mergeValues(values, read.values);
    namespace = read.namespace ?? namespace;
    warnings.push(...read.warnings);
  }
  return { values, ...(namespace === undefined ? {} : { namespace }), warnings };
}

function contentOf(document: Document.Parsed, file: string): unknown {
  const [fault] = document.errors;
  if (fault) throw new MeshError('ERR_CONFIG', `${file}: ${fault.message}`);
  try {
    return document.toJS();
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `${file}: ${errorMessage(cause)}`, { cause }); // an alias without an anchor
  }
}
