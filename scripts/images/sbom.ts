/** What an image is made of, as SPDX 2.3 in JSON: Debian packages, npm packages, Node.js and the program itself. */
import type { NpmPackage } from './application.ts';
import type { DebianPackage } from './debian-packages.ts';

export interface BillOptions {
  readonly image: string;
  readonly digest: string;
  readonly version: string;
  readonly epoch: number;
  readonly debian: readonly DebianPackage[];
  readonly npm: readonly NpmPackage[];
}

/** The document; its order depends on names only. */
export function billOfMaterials({ image, digest, version, epoch, debian, npm }: BillOptions): object {
  const packages = [
    spdxPackage({ name: 'culvert', version, license: 'Apache-2.0', purl: `pkg:npm/culvert@${version}` }),
    ...[...debian]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, version: of, architecture, source, sha256 }) =>
        spdxPackage({
          ...{ name, version: of, license: 'NOASSERTION', sha256 },
          purl: `pkg:deb/debian/${name}@${encodeURIComponent(of)}?arch=${architecture}&upstream=${source}`,
        }),
      ),
    ...npm.map(({ name, version: of, license, integrity }) =>
      spdxPackage({
        ...{ name, version: of, license: /^[\w.+() -]+$/.test(license) ? license : 'NOASSERTION', integrity },
        purl: `pkg:npm/${name.replace('@', '%40')}@${of}`,
      }),
    ),
  ];
  const root = 'SPDXRef-image';
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: image,
    documentNamespace: `https://culvert.dev/spdx/${digest.replace(':', '-')}`,
    creationInfo: {
      created: new Date(epoch * 1_000).toISOString().replace(/\.\d+Z/, 'Z'),
      creators: ['Tool: culvert'],
    },
    packages: [
      {
        ...{ SPDXID: root, name: image, versionInfo: version, downloadLocation: 'NOASSERTION', filesAnalyzed: false },
        checksums: [{ algorithm: 'SHA256', checksumValue: digest.replace('sha256:', '') }],
        primaryPackagePurpose: 'CONTAINER',
      },
      ...packages,
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: root },
      ...packages.map(({ SPDXID }) => ({
        ...{ spdxElementId: root, relationshipType: 'CONTAINS', relatedSpdxElement: SPDXID },
      })),
    ],
  };
}

interface Material {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly purl: string;
  readonly sha256?: string;
  /** As npm's lock file has it: `sha512-` and base64. */
  readonly integrity?: string | undefined;
}

function spdxPackage({ name, version, license, purl, sha256, integrity }: Material) {
  const [algorithm = '', value = ''] = (integrity ?? '').split('-');
  const checksums = [
    ...(sha256 === undefined ? [] : [{ algorithm: 'SHA256', checksumValue: sha256 }]),
    ...(value === ''
      ? []
      : [{ algorithm: algorithm.toUpperCase(), checksumValue: Buffer.from(value, 'base64').toString('hex') }]),
  ];
  return {
    SPDXID: `SPDXRef-${`${purl.split('/')[0]?.slice(4)}-${name}-${version}`.replaceAll(/[^A-Za-z0-9.-]/g, '-')}`,
    ...{ name, versionInfo: version, downloadLocation: 'NOASSERTION', filesAnalyzed: false },
    ...{ licenseConcluded: 'NOASSERTION', licenseDeclared: license, copyrightText: 'NOASSERTION' },
    ...(checksums.length > 0 ? { checksums } : {}),
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  };
}
