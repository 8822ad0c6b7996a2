/** `npm run test:asan`: the native engine's whole suite under AddressSanitizer with UBSan, then under ThreadSanitizer. */
import { finish } from './ava-run.ts';
import { runSanitized } from './sanitizers.ts';

const args = process.argv.slice(2);
finish([await runSanitized('address', args), await runSanitized('thread', args)]);
