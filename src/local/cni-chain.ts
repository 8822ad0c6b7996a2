/**
 * Calls a node's CNI plugins the way a container runtime does: ADD in order, each seeing the result of the one before;
 * DEL in reverse with the result that ADD left in the cache, also for an attachment that was only half made.
 * Source: CNI specification 1.0.0, section 4; the cache plays the part of libcni's.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoName, errorMessage, MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import {
  type CniAttachment,
  type CniNetworkList,
  type CniPluginConfig,
  type CniResult,
  configurationFiles,
  parseNetworkList,
  pluginEnv,
  pluginErrorText,
  pluginInput,
} from './cni-config.ts';
import { runAny } from './process-runner.ts';

/** A runtime's own limit for one plugin; the plugins have shorter ones. */
const PLUGIN_TIMEOUT_MS = 60_000;

export interface CniDirs {
  /** Path of the node's network namespace: plugins run there, as on a real node. */
  readonly nodeNetns: string;
  readonly configDir: string;
  readonly binDir: string;
  readonly cacheDir: string;
}

interface CachedAttachment {
  readonly list: CniNetworkList;
  readonly attachment: CniAttachment;
  readonly result?: CniResult;
}

export class CniChain {
  readonly #dirs: CniDirs;
  readonly #log: Logger;

  /** Every call that a plugin answers is logged as `CNI plugin called`, with how long it took. */
  constructor(dirs: CniDirs, log: Logger) {
    this.#dirs = dirs;
    this.#log = log;
  }

  /**
   * Attaches a pod. Rejects with ERR_SYSTEM and the plugin's message when one refuses; call `delete` then, as after use.
   * The configuration is read anew each time, so that plugins inserted meanwhile take part.
   */
  async add(attachment: CniAttachment): Promise<CniResult> {
    const list = await this.#load();
    await this.#remember({ list, attachment });
    let result: CniResult | undefined;
    for (const plugin of list.plugins) {
      const stdout = await this.#call('ADD', list, plugin, attachment, result);
      result = JSON.parse(stdout) as CniResult; // a plugin that exits with 0 owes a result
    }
    await this.#remember({ list, attachment, result: result ?? {} });
    return result ?? {};
  }

  /** Asks every plugin whether the pod is attached as ADD left it. Rejects with ERR_SYSTEM when one says no. */
  async check(attachment: CniAttachment): Promise<void> {
    const cached = await this.#recall(attachment.containerId);
    if (cached === undefined) throw new MeshError('ERR_NOT_FOUND', `${attachment.containerId} was never attached`);
    for (const plugin of cached.list.plugins) {
      await this.#call('CHECK', cached.list, plugin, attachment, cached.result);
    }
  }

  /** Detaches a pod: every plugin is asked, the first refusal is thrown afterwards. Twice is fine. */
  async delete(attachment: CniAttachment): Promise<void> {
    const cached = await this.#recall(attachment.containerId);
    if (cached === undefined) return;
    let failure: unknown;
    for (const plugin of cached.list.plugins.toReversed()) {
      try {
        await this.#call('DEL', cached.list, plugin, attachment, cached.result);
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    await rm(this.#cacheFile(attachment.containerId), { force: true });
  }

  /** The list a runtime would use now. Rejects with ERR_NOT_FOUND when no file of the folder is usable. */
  async #load(): Promise<CniNetworkList> {
    const problems: string[] = [];
    for (const name of configurationFiles(await readdir(this.#dirs.configDir))) {
      try {
        return parseNetworkList(await readFile(join(this.#dirs.configDir, name), 'utf8'));
      } catch (error) {
        problems.push(`${name}: ${errorMessage(error)}`);
      }
    }
    throw new MeshError('ERR_NOT_FOUND', `no network configuration in ${this.#dirs.configDir} ${problems.join('; ')}`);
  }

  async #call(
    command: 'ADD' | 'CHECK' | 'DEL',
    list: CniNetworkList,
    plugin: CniPluginConfig,
    attachment: CniAttachment,
    previous?: CniResult,
  ): Promise<string> {
    const startMs = performance.now();
    const { code, stdout, stderr } = await runAny(
      'nsenter',
      [`--net=${this.#dirs.nodeNetns}`, join(this.#dirs.binDir, plugin.type)],
      {
        input: pluginInput(list, plugin, previous),
        env: pluginEnv(command, attachment, this.#dirs.binDir),
        timeoutMs: PLUGIN_TIMEOUT_MS,
      },
    );
    if (code === 0) {
      const durationMs = Math.round(performance.now() - startMs);
      this.#log.info('CNI plugin called', { plugin: plugin.type, command, durationMs });
      return stdout;
    }
    throw new MeshError('ERR_SYSTEM', `plugin ${plugin.type} refused ${command}: ${pluginErrorText(stdout, stderr)}`);
  }

  async #remember(cached: CachedAttachment): Promise<void> {
    await mkdir(this.#dirs.cacheDir, { recursive: true });
    await writeFile(this.#cacheFile(cached.attachment.containerId), JSON.stringify(cached), { mode: 0o600 });
  }

  async #recall(containerId: string): Promise<CachedAttachment | undefined> {
    try {
      return JSON.parse(await readFile(this.#cacheFile(containerId), 'utf8')) as CachedAttachment; // written by #remember
    } catch (error) {
      if (errnoName(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #cacheFile(containerId: string): string {
    return join(this.#dirs.cacheDir, containerId);
  }
}
