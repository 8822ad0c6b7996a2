/**
 * The program as it lies in every image: built JavaScript, and exactly the npm packages that the lock file names for
 * production, without types, source maps and what only a developer reads.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly integrity: string | undefined;
}

interface LockEntry {
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly link?: boolean;
}

/** Where the program lies in an image. */
export const APPLICATION_FOLDER = 'opt/culvert';

const DROPPED_FILES = /\.(d\.[cm]?ts|[cm]?ts|map|md|markdown|flow|tsbuildinfo)$|^\.|^(CHANGELOG|HISTORY|AUTHORS)/i;
const DROPPED_FOLDERS = new Set([
  'test',
  'tests',
  '__tests__',
  'example',
  'examples',
  'benchmark',
  'benchmarks',
  'man',
]);

/** Builds into `root`; answers the npm packages that went in, in the order of their names. */
export function layApplication(repository: string, root: string): readonly NpmPackage[] {
  const target = join(root, APPLICATION_FOLDER);
  execFileSync(process.execPath, [join(repository, 'scripts/build.ts'), target], { cwd: repository, stdio: 'pipe' });
  for (const addon of addonsBelow(target)) execFileSync('strip', ['--strip-debug', addon]);
  return productionPackages(repository).map(([path, { version, license = 'NOASSERTION', integrity }]) => {
    copyPackage(join(repository, path), join(target, path));
    return {
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      license,
      integrity,
    };
  });
}

/** The Node.js that the lock file names for this machine, stripped of symbols; answers its package. */
export function layNode(repository: string, root: string): NpmPackage {
  const path = `node_modules/node-linux-${process.arch}`;
  const entry = lockEntries(repository).find(([name]) => name === path)?.[1];
  if (!entry) throw new Error(`the lock file names no Node.js for ${process.arch}`);
  mkdirSync(join(root, 'usr/bin'), { recursive: true });
  execFileSync('strip', ['-o', join(root, 'usr/bin/node'), join(repository, path, 'bin/node')]);
  const license = join(repository, path, 'LICENSE');
  mkdirSync(join(root, 'usr/share/doc/nodejs'), { recursive: true });
  if (existsSync(license)) cpSync(license, join(root, 'usr/share/doc/nodejs/copyright'));
  return { name: basename(path), version: entry.version, license: 'MIT', integrity: entry.integrity };
}

function productionPackages(repository: string): readonly (readonly [string, LockEntry])[] {
  const wanted = lockEntries(repository).filter(
    ([path, { dev, devOptional, link }]) =>
      path.startsWith('node_modules/') &&
      !path.startsWith('node_modules/node-linux-') &&
      !path.startsWith('node_modules/@types/') &&
      !dev &&
      !devOptional &&
      !link,
  );
  return wanted.filter(([path]) => existsSync(join(repository, path))).sort(([a], [b]) => (a < b ? -1 : 1));
}

function lockEntries(repository: string): [string, LockEntry][] {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>;
  };
  return Object.entries(lock.packages);
}

/** A package's own nested packages have entries of their own in the lock file. */
function copyPackage(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, {
    recursive: true,
    filter: (path) => {
      if (path === from) return true;
      const name = basename(path);
      if (name === 'node_modules') return false;
      return !DROPPED_FILES.test(name) && !(DROPPED_FOLDERS.has(name) && dirname(path) === from);
    },
  });
}

function addonsBelow(folder: string): readonly string[] {
  const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return entries.filter((entry) => entry.endsWith('.node')).map((entry) => join(folder, entry));
}
