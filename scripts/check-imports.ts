/** Holds the import direction of the folders, and fails when the tool saw no modules at all. */
import { spawnSync } from 'node:child_process';

const run = spawnSync('depcruise', ['src', 'native', '--output-type', 'json'], {
  encoding: 'utf8',
  maxBuffer: 256 * 1024 * 1024,
});
if (run.error || run.stdout === '') {
  console.error(`import check could not run: ${run.error?.message ?? run.stderr}`);
  process.exit(1);
}
const { summary } = JSON.parse(run.stdout) as {
  summary: { totalCruised: number; violations: { rule: { name: string }; from: string; to: string }[] };
};
if (summary.totalCruised === 0) {
  console.error('import check saw no modules: is the TypeScript version one that dependency-cruiser can read?');
  process.exit(1);
}
for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} -> ${to}`);
if (summary.violations.length > 0) process.exit(1);
console.log(`imports: ${summary.totalCruised} modules, no violation`);
