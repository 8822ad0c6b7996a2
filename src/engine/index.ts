/** Moves bytes: the port, and the engines behind it. */

export { chooseEngine, type EngineChoice, type EngineMakers } from './choose-engine.ts';
export { NativeEngine, type NativeEngineOptions } from './native/native-engine.ts';
export type * from './port.ts';
export { PER_CONNECTION } from './port.ts';
export { TypescriptEngine } from './typescript/typescript-engine.ts';
