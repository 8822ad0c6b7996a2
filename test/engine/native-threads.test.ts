import { NativeEngine } from '../../src/engine/index.ts';
import { registerEngineSuite } from './conformance.ts';

registerEngineSuite((handlers, options) => new NativeEngine(handlers, { ...options, threads: 3 }));
