import { TypescriptEngine } from '../../src/engine/index.ts';
import { registerEngineSuite } from './conformance.ts';

registerEngineSuite((handlers, options) => new TypescriptEngine(handlers, options));
