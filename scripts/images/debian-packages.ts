/**
 * Files from Debian packages, as apt gives them: apt has checked the signatures of its lists, and a package is taken only
 * with the hash that the lists name. Packages are kept in a folder between runs.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { PackageFiles } from './components.ts';

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly source: string;
  readonly sha256: string;
  readonly path: string;
}

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const MAX_ARCHIVE_BYTES = 256 * 1024 * 1024;

/** Downloads what is not kept yet. Throws with what apt said. */
export function fetchPackages(names: readonly string[], folder: string): ReadonlyMap<string, DebianPackage> {
  mkdirSync(folder, { recursive: true });
  const offered = run('apt-get', ['download', '--print-uris', '-qq', ...names], '/');
  const found = new Map<string, DebianPackage>();
  for (const line of offered.split('\n').filter(Boolean)) {
    const [, uri = '', file = '', sha256 = ''] = /^'([^']+)' (\S+) \d+ SHA256:([0-9a-f]{64})$/.exec(line) ?? [];
    if (uri === '') throw new Error(`apt offers something unknown: ${line}`);
    const path = join(folder, file);
    const name = basename(file).split('_')[0] ?? '';
    if (!existsSync(path) || hashOf(path) !== sha256) {
      rmSync(path, { force: true });
      run('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', name], folder);
      if (hashOf(path) !== sha256) throw new Error(`${file} is not what apt's lists promise`);
    }
    const field = (key: string) => run('dpkg-deb', ['-f', path, key], folder).trim();
    const source = field('Source').split(' ')[0] || name;
    found.set(name, { name, version: field('Version'), architecture: field('Architecture'), source, sha256, path });
  }
  return found;
}

/** Unpacks the wanted files below `root`; paths are those of a merged /usr. Throws when a package has none of them. */
export function unpackFiles({ files }: PackageFiles, { name, path }: DebianPackage, root: string): void {
  const unmerged = files.filter((file) => /^usr\/(s?bin|lib|lib64)\//.test(file)).map((file) => file.slice(4));
  const wanted = [...files, ...unmerged, `usr/share/doc/${name}/copyright`];
  const archive = execFileSync('dpkg-deb', ['--fsys-tarfile', path], {
    maxBuffer: MAX_ARCHIVE_BYTES,
    env: ENVIRONMENT,
  });
  const tar = (...args: readonly string[]) =>
    execFileSync('tar', args, { input: archive, encoding: 'utf8', maxBuffer: MAX_ARCHIVE_BYTES, env: ENVIRONMENT });
  const listed = tar('-t').split('\n');
  const members = listed.filter((member) => !member.endsWith('/') && matches(member.slice(2), wanted));
  if (!members.some((member) => matches(member.slice(2), [...files, ...unmerged]))) {
    throw new Error(`${name} has none of ${files.join(', ')}`);
  }
  tar('-x', '--keep-directory-symlink', '--no-same-owner', '-C', root, ...members);
}

/** What security scanners read where there is no dpkg. */
export function statusText({ path }: DebianPackage): string {
  return run('dpkg-deb', ['-f', path], '/');
}

function matches(member: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    if (pattern.endsWith('*') || pattern.endsWith('/')) return member.startsWith(pattern.replace(/\*$/, ''));
    return member === pattern;
  });
}

function hashOf(path: string): string | undefined {
  return existsSync(path) ? createHash('sha256').update(readFileSync(path)).digest('hex') : undefined;
}

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: ENVIRONMENT,
  });
}
