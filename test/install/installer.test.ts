/** The installer on real folders, with other programs that change them. */
import { deepEqual } from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Installer, type InstallerOptions, type InstallOutcome } from '../../src/cni/install/index.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import { eventually } from '../support/eventually.ts';

const PRIMARY = '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"}]}';

class Node implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), 'cvt-install-'));
  readonly configDir = join(this.#root, 'net.d');
  readonly binSourceDir = join(this.#root, 'source');
  readonly binDir = join(this.#root, 'bin');
  readonly outcomes: InstallOutcome[] = [];
  isReady = false;

  constructor() {
    for (const dir of [this.configDir, this.binSourceDir, this.binDir]) mkdirSync(dir);
    writeFileSync(join(this.binSourceDir, 'istio-cni'), '#!/bin/sh\n');
    chmodSync(join(this.binSourceDir, 'istio-cni'), 0o755);
    writeFileSync(join(this.binSourceDir, 'main.o'), 'not to be installed');
  }

  installer(more: Partial<InstallerOptions> = {}): Installer {
    const installer = new Installer({
      configDir: this.configDir,
      binSourceDir: this.binSourceDir,
      binDirs: [this.binDir],
      mode: { kind: 'chained' },
      configFileMode: 0o600,
      plugin: {
        logLevel: 'info',
        agentRunDir: '/run/x',
        selectors: [],
        excludedNamespaces: [],
        podNamespace: 'istio-system',
      },
      clock: systemClock,
      log: silentLogger,
      onReady: (isReady) => {
        this.isReady = isReady;
      },
      onResult: (outcome) => this.outcomes.push(outcome),
      ...more,
    });
    installer.start();
    return installer;
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.configDir, name), text, { mode: 0o644 });
  }

  types(name: string): readonly string[] {
    const { plugins } = JSON.parse(readFileSync(join(this.configDir, name), 'utf8'));
    return plugins.map(({ type }: { type: string }) => type);
  }

  /** Throws unless the plugin is in that list and its executable is there. */
  assertInstalled(name: string): void {
    deepEqual(this.types(name), ['ptp', 'istio-cni']);
    deepEqual(readdirSync(this.binDir), ['istio-cni']);
  }

  ready(): Promise<void> {
    return eventually(() => this.isReady, 'the installation');
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

test('it joins the list of the node, keeps its mode, and leaves both as they were', async (t) => {
  using node = new Node();
  node.write('10-net.conflist', PRIMARY);
  const installer = node.installer();
  await node.ready();
  t.notThrows(() => node.assertInstalled('10-net.conflist'));
  t.is(statSync(join(node.configDir, '10-net.conflist')).mode & 0o777, 0o644);
  t.is(statSync(join(node.binDir, 'istio-cni')).mode & 0o777, 0o755);
  t.deepEqual(node.outcomes, ['SUCCESS']);
  await installer[Symbol.asyncDispose]();
  t.deepEqual(node.types('10-net.conflist'), ['ptp', 'istio-cni']);
  await installer.uninstall();
  t.deepEqual(JSON.parse(readFileSync(join(node.configDir, '10-net.conflist'), 'utf8')), JSON.parse(PRIMARY));
  t.deepEqual(readdirSync(node.binDir), []);
  await installer.uninstall();
});

test('it waits for a network to join', async (t) => {
  using node = new Node();
  await using _installer = node.installer();
  await eventually(() => existsSync(join(node.binDir, 'istio-cni')), 'the executable');
  t.false(node.isReady);
  node.write('10-net.conflist', PRIMARY);
  await node.ready();
  t.deepEqual(node.types('10-net.conflist'), ['ptp', 'istio-cni']);
});

test('what others undo is done again', async (t) => {
  using node = new Node();
  node.write('10-net.conflist', PRIMARY);
  await using _installer = node.installer();
  await node.ready();
  node.write('10-net.conflist', PRIMARY);
  await eventually(() => node.types('10-net.conflist').length === 2, 'the entry');
  rmSync(join(node.binDir, 'istio-cni'));
  await eventually(() => existsSync(join(node.binDir, 'istio-cni')), 'the executable');
  node.write('05-first.conflist', PRIMARY);
  await eventually(() => node.types('05-first.conflist').length === 2, 'the entry in the new first file');
  await node.ready();
  t.deepEqual([...new Set(node.outcomes)], ['SUCCESS']);
});

test('control: when the installer has ended nobody does again what others undo', async (t) => {
  using node = new Node();
  node.write('10-net.conflist', PRIMARY);
  {
    await using _installer = node.installer();
    await node.ready();
    t.notThrows(() => node.assertInstalled('10-net.conflist'));
  }
  node.write('10-net.conflist', PRIMARY);
  t.throws(() => node.assertInstalled('10-net.conflist'));
  node.isReady = false;
  await using _next = node.installer();
  await node.ready();
  t.notThrows(() => node.assertInstalled('10-net.conflist'));
});

test('a file of no concern changes nothing, and a right installation is not written again', async (t) => {
  using node = new Node();
  node.write('10-net.conflist', PRIMARY);
  {
    await using _first = node.installer();
    await node.ready();
  }
  const { ino } = statSync(join(node.configDir, '10-net.conflist'));
  node.isReady = false;
  await using _second = node.installer();
  await node.ready();
  t.is(statSync(join(node.configDir, '10-net.conflist')).ino, ino);
});

test('a missing executable is a failure that is tried again', async (t) => {
  using node = new Node();
  node.write('10-net.conflist', PRIMARY);
  rmSync(join(node.binSourceDir, 'istio-cni'));
  const sleeps: number[] = [];
  const clock = { ...systemClock, sleep: async (ms: number) => void sleeps.push(ms) };
  await using _installer = node.installer({ clock });
  await eventually(() => sleeps.length > 1, 'the second attempt');
  t.false(node.isReady);
  t.is(node.outcomes[0], 'COPY_BINARIES_FAILURE');
  t.deepEqual(node.types('10-net.conflist'), ['ptp']);
  writeFileSync(join(node.binSourceDir, 'istio-cni'), 'x', { mode: 0o755 });
  await node.ready();
});
