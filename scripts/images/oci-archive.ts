/**
 * Writes OCI image archives: the same content gives the same bytes, whoever builds them and when.
 * Source: OCI Image Format 1.1 (layout, manifest, configuration), and the name annotation that containerd imports by.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

export interface Layer {
  /** Hash of the tar archive. */
  readonly diffId: string;
  /** Hash of the compressed archive, and its file. */
  readonly digest: string;
  readonly size: number;
  readonly path: string;
  readonly createdBy: string;
}

export interface ImageOptions {
  /** `docker.io/culvert/pilot:1.0`. */
  readonly name: string;
  readonly layers: readonly Layer[];
  readonly config: Readonly<Record<string, unknown>>;
  /** Seconds since 1970. */
  readonly epoch: number;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const type = (kind: string) => `application/vnd.oci.image.${kind}`;

/** Packs a folder: sorted names, one owner, one time. */
export function packLayer(
  root: string,
  file: string,
  { epoch, createdBy }: { readonly epoch: number; readonly createdBy: string },
): Layer {
  const tar = `${file}.tar`;
  packTar(root, tar, { epoch, entries: ['.'] });
  const bytes = readFileSync(tar);
  const packed = gzipSync(bytes, { level: 6 });
  packed[9] = 255; // the byte that names the operating system of the packer
  const path = `${file}.tar.gz`;
  writeFileSync(path, packed);
  rmSync(tar);
  return { diffId: digestOf(bytes), digest: digestOf(packed), size: packed.length, path, createdBy };
}

/** Writes the archive that `ctr images import`, `docker load` and `skopeo copy oci-archive:` read; answers its digest. */
export function writeImage(file: string, scratch: string, { name, layers, config, epoch }: ImageOptions): string {
  const blobs = join(scratch, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const created = new Date(epoch * 1_000).toISOString();
  const platform = { architecture: ARCHITECTURES[process.arch] ?? process.arch, os: 'linux' };
  const put = (content: object) => {
    const bytes = Buffer.from(JSON.stringify(content));
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes);
    return { digest, size: bytes.length };
  };
  for (const layer of layers)
    writeFileSync(join(blobs, layer.digest.slice('sha256:'.length)), readFileSync(layer.path));
  const imageConfig = put({
    ...{ created, ...platform, config },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ createdBy }) => ({ created, created_by: createdBy })),
  });
  const manifest = put({
    ...{ schemaVersion: 2, mediaType: type('manifest.v1+json') },
    config: { mediaType: type('config.v1+json'), ...imageConfig },
    layers: layers.map(({ digest, size }) => ({ mediaType: type('layer.v1.tar+gzip'), digest, size })),
  });
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  };
  const index = {
    ...{ schemaVersion: 2, mediaType: type('index.v1+json') },
    manifests: [{ mediaType: type('manifest.v1+json'), ...manifest, platform, annotations }],
  };
  writeFileSync(join(scratch, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(scratch, 'index.json'), JSON.stringify(index));
  packTar(scratch, file, { epoch, entries: ['blobs', 'index.json', 'oci-layout'] });
  return manifest.digest;
}

export function fileSize(path: string): number {
  return statSync(path).size;
}

interface TarOptions {
  readonly epoch: number;
  readonly entries: readonly string[];
}

function packTar(root: string, file: string, { epoch, entries }: TarOptions): void {
  const owner = ['--owner=0', '--group=0', '--numeric-owner'];
  const order = ['--format=gnu', '--sort=name', `--mtime=@${epoch}`, '--hard-dereference'];
  // What may be read by the builder may be read by everybody: modes do not depend on a umask.
  const mode = '--mode=u+rwX,go+rX,go-w';
  execFileSync('tar', [...order, ...owner, mode, '-C', root, '-cf', file, ...entries], {
    env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
  });
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
