/**
 * Runs every suite with ava and prints what really ran. The last line is `N passed, N failed`. Arguments are passed to
 * ava; without them the suite of the tunnel runs a second time, with the engine that is not the default, and that of the
 * native engine with its sanitized builds.
 */
import { finish, runAva } from './ava-run.ts';
import { runSanitized } from './sanitizers.ts';

const args = process.argv.slice(2);
const runs = [await runAva(args)];
if (args.length === 0) {
  console.log('# the same tunnel suite with the TypeScript engine');
  runs.push(await runAva(['test/mesh/*.test.ts'], { env: { CULVERT_ENGINE: 'typescript' } }));
  runs.push(await runSanitized('address'));
  runs.push(
    await runSanitized('thread', ['--match=*drain*', '--match=*GOAWAY*', '--match=*streams*', '--match=*reset*']),
  );
}
finish(runs);
