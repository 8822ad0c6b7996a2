/** `npm run soak -- --seconds N`: ten minutes unless told otherwise. Prints the figures; ends with 1 when something grew. */
import { parseArgs } from 'node:util';
import { grown, soak } from './soak.ts';

const DEFAULT_SECONDS = '600';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: DEFAULT_SECONDS } } });
const result = await soak({ seconds: Number(values.seconds) });
const { before, after, calls, rounds, failures } = result;
console.log(`${calls} calls, ${rounds} rounds of pods, policies and connections; ${failures.length} calls failed`);
for (const failure of failures.slice(0, 10)) console.log(`  ${failure}`);
console.log(`RSS ${before.rssMb} -> ${after.rssMb} MB, descriptors ${before.descriptors} -> ${after.descriptors}`);
const problems = [...grown(result), ...(failures.length > 0 ? [`${failures.length} calls failed`] : [])];
for (const problem of problems) console.log(`FAIL ${problem}`);
console.log(`${problems.length === 0 ? 1 : 0} passed, ${problems.length} failed`);
process.exitCode = problems.length === 0 ? 0 : 1;
