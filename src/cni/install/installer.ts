/**
 * Keeps the CNI plugin installed on the node: executable and configuration entry, put back whenever something else
 * changes them. The plugin asks the agent only, so there is no kubeconfig to write.
 *
 * Invariants
 *  - A shared file is written only when it is not right: other programs watch it.
 *  - Ready means: the runtime's next call goes through our entry, and the executable is there.
 * Source: Istio installer behaviour.
 */
import { constants } from 'node:fs';
import { access, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.ts';
import { errnoName, errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { removeTemporaries, writeFileAtomic } from './atomic-file.ts';
import {
  type ConfigFile,
  findConfigFault,
  findSkipped,
  type InstallMode,
  isConfigName,
  planConfig,
  planRemoval,
} from './config-plan.ts';
import { FolderWatch } from './folder-watch.ts';
import { InstallPace } from './install-pace.ts';
import { PLUGIN_TYPE, type PluginSettings, pluginEntry } from './plugin-entry.ts';

export type InstallOutcome = 'SUCCESS' | 'COPY_BINARIES_FAILURE' | 'CREATE_CNI_CONFIG_FAILURE';

export interface InstallerOptions {
  readonly configDir: string;
  /** Folder of the executables to install; every regular file in it is copied. */
  readonly binSourceDir: string;
  readonly binDirs: readonly string[];
  readonly mode: InstallMode;
  /** Of files made new; one that is rewritten keeps its own. */
  readonly configFileMode: number;
  readonly plugin: PluginSettings;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onReady: (isReady: boolean) => void;
  readonly onResult: (outcome: InstallOutcome) => void;
}

/** Written by the executable, in the agent's folder. */
const PLUGIN_LOGS = ['istio-cni.log', 'istio-cni.log.1'];
/** After a failed pass. */
const RETRY_MS = 1_000;
const BINARY_MODE = 0o755;

export class Installer implements AsyncDisposable {
  readonly #options: InstallerOptions;
  readonly #stop = new AbortController();
  readonly #pace: InstallPace;
  #running: Promise<void> = Promise.resolve();
  #written: string | undefined;

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#pace = new InstallPace(options.clock);
  }

  /** Installs and watches, in the background until disposed. */
  start(): void {
    this.#running = this.#run();
  }

  /** Takes our entry and executables off the node again. Only after the watch was disposed. Rejects with the system error. */
  async uninstall(): Promise<void> {
    const { configDir, binDirs, mode, plugin } = this.#options;
    for (const removal of planRemoval(await this.#configFiles(), mode)) {
      const path = join(configDir, removal.file);
      if (removal.action === 'delete') await rm(path, { force: true });
      else await writeFileAtomic(path, removal.text, await this.#modeOf(path));
    }
    for (const dir of binDirs) await rm(join(dir, PLUGIN_TYPE), { force: true });
    for (const name of PLUGIN_LOGS) await rm(join(plugin.agentRunDir, name), { force: true });
  }

  /** Ends the watch; what is installed stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        using watch = await this.#watch();
        const fault = await this.#findFault();
        if (fault === undefined) {
          this.#options.onReady(true);
          await untilAborted(watch.changed, signal);
          continue;
        }
        this.#options.onReady(false);
        if ((await this.#install(fault)) === 'wait') await untilAborted(watch.changed, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onReady(false);
        this.#options.log.error('cni plugin not installed', { error: errorMessage(error) });
        await this.#options.clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #watch(): Promise<FolderWatch> {
    const { configDir, binDirs } = this.#options;
    for (const dir of [configDir, ...binDirs]) await mkdir(dir, { recursive: true });
    return new FolderWatch([configDir, ...binDirs]);
  }

  async #findFault(): Promise<string | undefined> {
    const { mode } = this.#options;
    try {
      for (const { source, target } of await this.#binaries()) {
        if (!(await isSameExecutable(source, target))) return `${target} is not the executable to install`;
      }
    } catch (error) {
      return errorMessage(error);
    }
    return findConfigFault(await this.#configFiles(), mode, this.#written);
  }

  async #install(reason: string): Promise<'done' | 'wait'> {
    const { clock, log, onResult } = this.#options;
    const { waitMs, isContended } = this.#pace.next();
    if (isContended) {
      log.warn('another program keeps changing the cni configuration', {
        hint: 'tell it to leave it alone; for Cilium set cni.exclusive=false',
      });
    }
    if (waitMs > 0) await clock.sleep(waitMs, this.#stop.signal);
    try {
      for (const { source, target } of await this.#binaries()) await copyExecutable(source, target);
    } catch (error) {
      onResult('COPY_BINARIES_FAILURE');
      throw error;
    }
    try {
      const written = await this.#writeConfig();
      if (written === undefined) {
        log.info('waiting for a cni configuration to join', { folder: this.#options.configDir });
        return 'wait';
      }
      log.info('cni plugin installed', { file: written, reason });
      onResult('SUCCESS');
      return 'done';
    } catch (error) {
      onResult('CREATE_CNI_CONFIG_FAILURE');
      throw error;
    }
  }

  async #writeConfig(): Promise<string | undefined> {
    const { configDir, mode, plugin, log } = this.#options;
    const files = await this.#configFiles();
    for (const skipped of findSkipped(files)) log.warn('cni configuration passed over', { skipped });
    const plan = planConfig(files, mode, pluginEntry(plugin));
    if (plan.action === 'wait') return undefined;
    const path = join(configDir, plan.file);
    if (files.find(({ name }) => name === plan.file)?.text !== plan.text)
      await writeFileAtomic(path, plan.text, await this.#modeOf(join(configDir, plan.remove ?? plan.file)));
    if (plan.remove !== undefined) await rm(join(configDir, plan.remove), { force: true });
    this.#written = plan.file;
    const first = files.map(({ name }) => name).sort()[0];
    if (mode.kind === 'owned' && first !== undefined && first < plan.file)
      log.warn('another cni configuration sorts before ours, pods may bypass the mesh', { file: first });
    return plan.file;
  }

  async #configFiles(): Promise<readonly ConfigFile[]> {
    const { configDir } = this.#options;
    const files: ConfigFile[] = [];
    for (const name of (await readdir(configDir)).filter(isConfigName)) {
      try {
        files.push({ name, text: await readFile(join(configDir, name), 'utf8') });
      } catch (error) {
        if (errnoName(error) !== 'ENOENT' && errnoName(error) !== 'EISDIR') throw error;
      }
    }
    return files;
  }

  async #binaries(): Promise<readonly { readonly source: string; readonly target: string }[]> {
    const { binSourceDir, binDirs } = this.#options;
    const entries = await readdir(binSourceDir, { withFileTypes: true });
    const names: string[] = [];
    for (const entry of entries.filter((e) => e.isFile())) {
      const isExecutable = await access(join(binSourceDir, entry.name), constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isExecutable) names.push(entry.name);
    }
    if (!names.includes(PLUGIN_TYPE))
      throw new MeshError('ERR_CONFIG', `no executable ${PLUGIN_TYPE} in ${binSourceDir}; is the native part built?`);
    return binDirs.flatMap((dir) =>
      names.map((name) => ({ source: join(binSourceDir, name), target: join(dir, name) })),
    );
  }

  async #modeOf(path: string): Promise<number> {
    try {
      return (await stat(path)).mode & 0o777;
    } catch {
      return this.#options.configFileMode;
    }
  }
}

async function copyExecutable(source: string, target: string): Promise<void> {
  await removeTemporaries(target);
  if (await isSameExecutable(source, target)) return;
  try {
    await writeFileAtomic(target, await readFile(source), BINARY_MODE);
  } catch (cause) {
    if (errnoName(cause) !== 'EROFS') throw cause;
    const message = `${target} is on a read-only file system; set the platform's folder for CNI executables`;
    throw new MeshError('ERR_CONFIG', message, { cause });
  }
}

async function isSameExecutable(source: string, target: string): Promise<boolean> {
  try {
    const [wanted, there, { mode }] = await Promise.all([readFile(source), readFile(target), stat(target)]);
    return (mode & 0o111) !== 0 && wanted.equals(there);
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return false;
    throw error;
  }
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const onAbort = (): void => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([promise, aborted]);
  signal.removeEventListener('abort', onAbort);
}
