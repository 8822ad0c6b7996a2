/**
 * The image of the suites' own pods, as an OCI archive: Node.js, tcpdump and the files of `app/`. Prints where it lies.
 *
 *   node test/e2e/app-image.ts [NAME [FILE]]
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { layNode } from '../../scripts/images/application.ts';
import { BASE_PACKAGES, type PackageFiles } from '../../scripts/images/components.ts';
import { fetchPackages, unpackFiles } from '../../scripts/images/debian-packages.ts';
import { packLayer, writeImage } from '../../scripts/images/oci-archive.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const [name = 'docker.io/culvert/e2e-app:0.1.0', file = join(REPOSITORY, 'dist-images/e2e-app.tar')] =
  process.argv.slice(2);
const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
const library = (of: string, prefix: string): PackageFiles => ({
  package: of,
  files: [`usr/lib/${triplet}/${prefix}*`],
});

/** tcpdump and what it is linked with, beyond what Node.js needs. */
const CAPTURE: readonly PackageFiles[] = [
  { package: 'tcpdump', files: ['usr/bin/tcpdump'] },
  library('libpcap0.8', 'libpcap.so'),
  library('libssl3', 'libcrypto.so'),
  library('libdbus-1-3', 'libdbus-1.so'),
  library('libsystemd0', 'libsystemd.so'),
  library('liblzma5', 'liblzma.so'),
  library('libzstd1', 'libzstd.so'),
  library('liblz4-1', 'liblz4.so'),
  library('libcap2', 'libcap.so'),
  library('libgcrypt20', 'libgcrypt.so'),
  library('libgpg-error0', 'libgpg-error.so'),
];

const output = dirname(resolve(file));
mkdirSync(output, { recursive: true });
const scratch = mkdtempSync(join(output, '.e2e-'));
try {
  const root = join(scratch, 'root');
  for (const folder of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', folder), { recursive: true });
    symlinkSync(`usr/${folder}`, join(root, folder));
  }
  const packages = [...BASE_PACKAGES.filter(({ package: of }) => of !== 'ca-certificates'), ...CAPTURE];
  const found = fetchPackages(
    packages.map((wanted) => wanted.package),
    join(output, 'debian'),
  );
  for (const wanted of packages) {
    const deb = found.get(wanted.package);
    if (deb === undefined) throw new Error(`apt does not know ${wanted.package}`);
    unpackFiles(wanted, deb, root);
  }
  layNode(REPOSITORY, root);
  cpSync(join(import.meta.dirname, 'app'), join(root, 'app'), { recursive: true });
  mkdirSync(join(root, 'etc'), { recursive: true });
  for (const folder of ['proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'app/package.json'), '{"type":"module"}');
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/sbin/nologin\n');
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\nhosts: files dns\n');
  const layer = packLayer(root, join(scratch, 'app'), { epoch: 0, createdBy: 'node, tcpdump and the app' });
  const config = {
    Env: ['PATH=/usr/bin:/bin', 'NODE_NO_WARNINGS=1'],
    Entrypoint: ['/usr/bin/node', '/app/app.ts'],
    WorkingDir: '/',
  };
  writeImage(file, join(scratch, 'oci'), { name, layers: [layer], config, epoch: 0 });
  console.log(`${name} ${resolve(file)}`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
