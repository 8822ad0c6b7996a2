/**
 * Reviews of a book. `VERSION` chooses what a deployment does: v1 shows no stars, v2 black ones, v3 red ones. When the
 * ratings cannot be had the reviews are still shown, with the reason.
 */
import { ask, serve } from './web-server.ts';

const VERSION = process.env.VERSION ?? 'v1';
const COLOR = { v1: undefined, v2: 'black', v3: 'red' }[VERSION];
const REVIEWS = [
  { reviewer: 'Reviewer1', text: 'An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!' },
  { reviewer: 'Reviewer2', text: 'Absolutely fun and entertaining. The play lacks thematic depth.' },
] as const;

async function rated(): Promise<unknown> {
  if (COLOR === undefined) return REVIEWS;
  try {
    const ratings = (await ask('ratings', 9080, '/ratings/0')) as Readonly<Record<string, number>>;
    return REVIEWS.map((review) => ({ ...review, rating: { stars: ratings[review.reviewer], color: COLOR } }));
  } catch (error) {
    return REVIEWS.map((review) => ({ ...review, rating: { error: String(error) } }));
  }
}

serve(9080, async (path) => {
  if (!path.startsWith('/reviews/')) return undefined;
  return { status: 200, body: { id: 0, version: VERSION, podname: process.env.HOSTNAME, reviews: await rated() } };
});
