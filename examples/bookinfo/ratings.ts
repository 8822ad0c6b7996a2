/** Stars given by reviewers. */
import { serve } from './web-server.ts';

const RATINGS = { Reviewer1: 5, Reviewer2: 4 } as const;

serve(9080, async (path) => (path.startsWith('/ratings/') ? { status: 200, body: RATINGS } : undefined));
