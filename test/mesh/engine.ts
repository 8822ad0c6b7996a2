/** The engine that this run of the suite is about: `CULVERT_ENGINE`, the native one when it is not set. */
import {
  type Engine,
  type EngineHandlers,
  type EngineName,
  type EngineOptions,
  NativeEngine,
  TypescriptEngine,
} from '../../src/engine/index.ts';

export const ENGINE: EngineName = process.env.CULVERT_ENGINE === 'typescript' ? 'typescript' : 'native';

export function newEngine(handlers: EngineHandlers, options: EngineOptions): Engine {
  return ENGINE === 'native' ? new NativeEngine(handlers, options) : new TypescriptEngine(handlers, options);
}
