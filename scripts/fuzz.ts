/**
 * `npm run fuzz -- --seconds N`: libFuzzer, with AddressSanitizer and UBSan, against what peers send to the native engine.
 * Starts from sound conversations; what is found is written to the folder of `--artifacts` and ends the run with 1.
 */
import { parseArgs } from 'node:util';
import { fuzz } from './fuzz-engine.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, artifacts: { type: 'string', default: '.' } },
});
const { executions, failure } = fuzz({ seconds: Number(values.seconds), artifacts: values.artifacts });
if (failure) console.log(failure);
console.log(`${executions} inputs in ${values.seconds} s`);
console.log(failure ? '0 passed, 1 failed' : '1 passed, 0 failed');
process.exitCode = failure ? 1 : 0;
