/**
 * The Helm chart `culvert`, made from the same manifests, values and schema as the command line uses. Pure: file names
 * and their texts.
 */
import { stringify } from 'yaml';
import { z } from 'zod';
import { ForEach } from './manifests/gateways.ts';
import { MANIFEST_GROUPS, type ManifestNode, unwrap } from './manifests/index.ts';
import { helmCondition, helmDocument, helmValue, type Sample } from './template/helm-text.ts';
import { DEFAULT_VALUES, isMap, valuesSchema } from './values.ts';

const SAMPLE: Sample = { values: DEFAULT_VALUES, item: { name: '', serviceType: '' } };
const LEAF_WIDTH = 100;

/** Paths below the chart's folder, and what the files hold. */
export function chartFiles(version: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>([
    ['Chart.yaml', chartYaml(version)],
    ['values.yaml', valuesYaml()],
    ['values.schema.json', `${JSON.stringify(valuesJsonSchema(), null, 2)}\n`],
    ['templates/NOTES.txt', NOTES],
    ['.helmignore', '.git\n*.tgz\n'],
  ]);
  for (const { name, manifests } of MANIFEST_GROUPS) {
    files.set(`templates/${name}.yaml`, manifests.map(documentText).join(''));
  }
  return files;
}

function chartYaml(version: string): string {
  return stringify({
    ...{ apiVersion: 'v2', name: 'culvert', type: 'application', version, appVersion: version },
    description:
      'A node-level ambient service mesh: mutual TLS, identity, policy and telemetry for pods, without sidecars',
    kubeVersion: '>=1.30.0-0',
    keywords: ['service-mesh', 'ambient', 'istio', 'mtls'],
  });
}

function documentText(node: ManifestNode): string {
  const { condition, inner } = unwrap(node);
  const isList = inner instanceof ForEach;
  const body = `---\n${helmDocument(isList ? inner.manifest : inner, SAMPLE)}`;
  const listed = isList ? `{{- range $item := ${helmValue(inner.source)} }}\n${body}{{- end }}\n` : body;
  return condition === undefined ? listed : `${helmCondition(condition)}\n${listed}{{- end }}\n`;
}

/** The defaults with what they mean, as comments. */
function valuesYaml(): string {
  return `# Names and meanings are those of Istio's charts; what is ours alone says so.\n${describeMap(DEFAULT_VALUES, valuesSchema, '')}`;
}

function describeMap(values: object, schema: z.ZodObject, indent: string): string {
  return Object.entries(values)
    .map(([key, value]) => {
      const field = schema.shape[key] as z.ZodType;
      const inner = objectBelow(field);
      const comment = field.description === undefined ? '' : `${indent}# ${field.description}\n`;
      if (inner && isMap(value)) return `${comment}${indent}${key}:\n${describeMap(value, inner, `${indent}  `)}`;
      const text = stringify({ [key]: value }, { lineWidth: LEAF_WIDTH })
        .trimEnd()
        .replaceAll('\n', `\n${indent}`);
      return `${comment}${indent}${text}\n`;
    })
    .join('');
}

function valuesJsonSchema(): object {
  const schema = z.toJSONSchema(valuesSchema, { target: 'draft-7', io: 'input' });
  return { ...schema, title: 'Values of the culvert chart' };
}

function objectBelow(schema: z.ZodType): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return objectBelow(schema.unwrap() as z.ZodType);
  return undefined;
}

const NOTES = `Culvert {{ .Chart.AppVersion }} is installed in {{ .Release.Namespace }}.

Let a namespace join:      kubectl label namespace NAME istio.io/dataplane-mode=ambient
See whether all is well:   culvert check
{{- if not (.Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1") }}

The cluster has no Gateway API: waypoints and gateways need it. Install its definitions, then upgrade this release.
{{- end }}
Before removing this release run \`culvert uninstall\`: it takes the nodes out of the mesh in an orderly way.
`;
