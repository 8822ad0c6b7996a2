/**
 * `npm run images`: OCI archives of every component, without Docker. Needs root, apt and a built `native/`.
 *
 *   npm run images -- [--hub docker.io/culvert] [--tag VERSION] [--only pilot,ztunnel] [--output FOLDER] [--roots]
 *     [--no-trial]
 *
 * The archives take their times from SOURCE_DATE_EPOCH, else from the last commit. Beside each lies its bill of
 * materials. `--roots` leaves the root file systems in the output folder instead: that is what the Dockerfiles copy.
 * Every image is tried, which needs root and mounts; `--no-trial` leaves that out.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { APPLICATION_FOLDER, layApplication, layNode, type NpmPackage } from './application.ts';
import { BASE_PACKAGES, COMPONENTS, type Component, type PackageFiles } from './components.ts';
import { type DebianPackage, fetchPackages, statusText, unpackFiles } from './debian-packages.ts';
import { fileSize, type Layer, packLayer, writeImage } from './oci-archive.ts';
import { billOfMaterials } from './sbom.ts';
import { runInside } from './trial-run.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const { version, license } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as Record<
  'version' | 'license',
  string
>;
const { values: options } = parseArgs({
  options: {
    hub: { type: 'string', default: 'docker.io/culvert' },
    tag: { type: 'string', default: version },
    only: { type: 'string', default: COMPONENTS.map(({ name }) => name).join(',') },
    output: { type: 'string', default: join(REPOSITORY, 'dist-images') },
    roots: { type: 'boolean', default: false },
    trial: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const output = resolve(options.output);
const NODE = '/usr/bin/node';
const MAIN = `/${APPLICATION_FOLDER}/src/cli/main.js`;
const MERGED_USR = ['bin', 'sbin', 'lib', 'lib64'];

function fail(text: string): never {
  console.error(`images: ${text}`);
  process.exit(1);
}

function sourceEpoch(): number {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined && given !== '')
    return /^\d+$/.test(given) ? Number(given) : fail(`SOURCE_DATE_EPOCH=${given}`);
  const log = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: REPOSITORY, encoding: 'utf8' });
  return log.status === 0 ? Number(log.stdout) : 0;
}

function layPackages(root: string, wanted: readonly PackageFiles[]): readonly DebianPackage[] {
  mkdirSync(join(root, 'usr'), { recursive: true });
  for (const name of MERGED_USR) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const found = fetchPackages(
    wanted.map((files) => files.package),
    join(output, 'debian'),
  );
  const status = join(root, 'var/lib/dpkg/status.d');
  mkdirSync(status, { recursive: true });
  return wanted.map((files) => {
    const deb = found.get(files.package) ?? fail(`apt does not know ${files.package}`);
    unpackFiles(files, deb, root);
    writeFileSync(join(status, deb.name), statusText(deb));
    return deb;
  });
}

function layBase(root: string): { readonly debian: readonly DebianPackage[]; readonly node: NpmPackage } {
  const debian = layPackages(root, BASE_PACKAGES);
  const certificates = join(root, 'usr/share/ca-certificates/mozilla');
  const bundle = readdirSync(certificates)
    .sort()
    .map((file) => readFileSync(join(certificates, file), 'utf8').trimEnd());
  rmSync(join(root, 'usr/share/ca-certificates'), { recursive: true });
  const files = {
    'etc/ssl/certs/ca-certificates.crt': `${bundle.join('\n')}\n`,
    'etc/passwd': 'root:x:0:0:root:/root:/sbin/nologin\nistio-proxy:x:1337:1337:mesh:/:/sbin/nologin\n',
    'etc/group': 'root:x:0:\nistio-proxy:x:1337:\n',
    'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'var/lib'])
    mkdirSync(join(root, folder), { recursive: true });
  symlinkSync('../run', join(root, 'var/run'));
  return { debian, node: layNode(REPOSITORY, root) };
}

function layTools(root: string, { tools, links }: Component): readonly DebianPackage[] {
  const debian = layPackages(root, tools);
  for (const name of MERGED_USR) rmSync(join(root, name)); // the layer below has them
  for (const [path, target] of Object.entries(links)) {
    rmSync(join(root, path), { force: true });
    symlinkSync(target, join(root, path));
  }
  return debian;
}

function imageConfig({ title, command, user, ports }: Component): Readonly<Record<string, unknown>> {
  return {
    User: user,
    ExposedPorts: Object.fromEntries(ports.map((port) => [port, {}])),
    Env: [
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
      'NODE_ENV=production',
      'SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt',
    ],
    Entrypoint: [NODE, MAIN],
    Cmd: [command],
    WorkingDir: '/',
    Labels: {
      'org.opencontainers.image.title': title,
      'org.opencontainers.image.version': options.tag,
      'org.opencontainers.image.licenses': license,
    },
  };
}

/** Everything must load: each program ends with 1 and names what its configuration lacks. Answers the time it took. */
function tryComponent(root: string, { name, user, command, trials, loadEnv }: Component): number {
  for (const trial of trials) {
    const { status, output: said } = runInside(root, trial);
    if (status !== 0) fail(`${name}: ${trial.join(' ')} ends with ${status}: ${said}`);
  }
  const { status, output: said, milliseconds } = runInside(root, [NODE, MAIN, command], { user, env: loadEnv });
  if (status !== 1 || !said.includes('invalid configuration')) fail(`${name} does not start: ${status} ${said}`);
  return milliseconds;
}

const chosen = new Set(options.only.split(','));
for (const name of chosen) if (!COMPONENTS.some((component) => component.name === name)) fail(`no component ${name}`);
if (options.trial && process.getuid?.() !== 0) fail('root is needed to try the images; use sudo, or --no-trial');
mkdirSync(output, { recursive: true });
const scratch = mkdtempSync(join(output, '.work-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const epoch = sourceEpoch();
const pack = (name: string, createdBy: string): Layer =>
  packLayer(join(scratch, name), join(scratch, `${name}.layer`), { epoch, createdBy });

const base = layBase(join(scratch, 'base'));
const npm = layApplication(REPOSITORY, join(scratch, 'application'));
const shared = options.roots ? [] : [pack('base', 'debian files and node'), pack('application', 'culvert')];
for (const component of COMPONENTS.filter(({ name }) => chosen.has(name))) {
  const { name, tools } = component;
  const own = tools.length > 0 ? layTools(join(scratch, name), component) : [];
  const root = options.roots ? join(output, name) : join(scratch, `${name}.root`);
  rmSync(root, { recursive: true, force: true });
  for (const part of ['base', 'application', ...(own.length > 0 ? [name] : [])]) {
    execFileSync('cp', ['-alT', join(scratch, part), root]); // one copy on disk, many names
  }
  const loads = options.trial ? `loads in ${tryComponent(root, component)} ms` : 'not tried';
  if (options.roots) {
    console.log(`${name}: ${relative(process.cwd(), root)}, ${loads}`);
    continue;
  }
  rmSync(root, { recursive: true });
  const image = `${options.hub}/${name}:${options.tag}`;
  const file = join(output, `${name}.tar`);
  const layers = [...shared, ...(own.length > 0 ? [pack(name, 'debian files of the agent')] : [])];
  const digest = writeImage(file, join(scratch, `${name}.oci`), {
    name: image,
    layers,
    config: imageConfig(component),
    epoch,
  });
  const bill = billOfMaterials({
    image,
    digest,
    version,
    epoch,
    debian: [...base.debian, ...own],
    npm: [base.node, ...npm],
  });
  writeFileSync(join(output, `${name}.spdx.json`), `${JSON.stringify(bill, null, 1)}\n`);
  const megabytes = (fileSize(file) / 1e6).toFixed(1);
  console.log(`${image}: ${megabytes} MB, ${loads}, ${digest}, ${relative(process.cwd(), file)}`);
}
