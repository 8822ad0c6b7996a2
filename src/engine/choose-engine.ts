/** Which engine moves the bytes: the native one, and the TypeScript one where that cannot run. */
import { errorMessage, MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { Engine, EngineName } from './port.ts';

/** `auto`: native where it can be loaded. A name: that engine or none. */
export type EngineChoice = 'auto' | EngineName;

export type EngineMakers = Readonly<Record<EngineName, () => Engine>>;

/** One line is logged when `auto` had to fall back. Throws ERR_UNSUPPORTED when the native engine was demanded in vain. */
export function chooseEngine(choice: EngineChoice, make: EngineMakers, log: Logger): Engine {
  if (choice !== 'auto') return make[choice]();
  try {
    return make.native();
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'ERR_UNSUPPORTED') throw error;
    log.warn('native engine unavailable, the TypeScript engine moves the bytes: slower, same behaviour', {
      error: errorMessage(error),
    });
    return make.typescript();
  }
}
