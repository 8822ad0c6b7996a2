/**
 * Holds that every suite under test/ that `npm test` runs has a control: a test named "control: ..." in which, with capture off, a policy
 * withheld or a process killed, the suite's own assertions must fail. Fails when it saw no suites at all.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** The title stands in the call, or is chosen just before it. */
const CONTROL = /(?:\btest(?:\.\w+)*\(\s*|\btitle = [^;]*)['"`](?:\$\{[^}]*\}:? ?)?control: /;

/** Not of `npm test`: it needs an API server. */
const ELSEWHERE = 'test/e2e';

const suites = new Map<string, boolean>();
for (const file of globSync('test/*/**/*.ts')) {
  const folder = dirname(file).split('/').slice(0, 2).join('/');
  if (folder === ELSEWHERE) continue;
  const hasTests = file.endsWith('.test.ts');
  const hasControl = CONTROL.test(readFileSync(file, 'utf8'));
  if (hasTests || suites.has(folder) || hasControl) suites.set(folder, suites.get(folder) === true || hasControl);
}
const without = [...suites].filter(([, hasControl]) => !hasControl).map(([folder]) => folder);
for (const folder of without) console.error(`${folder}: no test is named "control: ..."`);
if (suites.size === 0) console.error('check of controls saw no suites');
if (without.length > 0 || suites.size === 0) process.exit(1);
console.log(`controls: ${suites.size} suites, each has one`);
