/** The front page: puts details and reviews of a book together. `/` is for people, `/api/v1/products/0` for programs. */
import { ask, serve } from './web-server.ts';

interface Review {
  readonly reviewer: string;
  readonly text: string;
  readonly rating?: { readonly stars?: number; readonly color?: string; readonly error?: string };
}

interface Product {
  readonly details: Readonly<Record<string, unknown>>;
  readonly reviews: { readonly version: string; readonly reviews: readonly Review[] };
}

async function product(): Promise<Product> {
  const [details, reviews] = await Promise.all([
    ask('details', 9080, '/details/0'),
    ask('reviews', 9080, '/reviews/0'),
  ]);
  return { details, reviews } as Product; // both are services of this application
}

function page({ details, reviews }: Product): string {
  const facts = Object.entries(details).map(([key, value]) => `<dt>${key}</dt><dd>${String(value)}</dd>`);
  const quotes = reviews.reviews.map(({ reviewer, text, rating }) => {
    const stars = rating?.stars === undefined ? '' : ` ${'★'.repeat(rating.stars)} (${rating.color})`;
    return `<blockquote>${text}<footer>${reviewer}${stars}</footer></blockquote>`;
  });
  return [
    '<!doctype html><meta charset="utf-8"><title>The Comedy of Errors</title><h1>The Comedy of Errors</h1>',
    `<dl>${facts.join('')}</dl><h2>Reviews (${reviews.version})</h2>${quotes.join('')}`,
  ].join('\n');
}

serve(9080, async (path) => {
  if (path === '/api/v1/products/0') return { status: 200, body: await product() };
  if (path === '/') return { status: 200, body: page(await product()), contentType: 'text/html; charset=utf-8' };
  return undefined;
});
