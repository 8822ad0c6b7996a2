/** Facts about a book. */
import { serve } from './web-server.ts';

const DETAILS = {
  id: 0,
  author: 'William Shakespeare',
  year: 1595,
  type: 'paperback',
  pages: 200,
  publisher: 'PublisherA',
  language: 'English',
  isbn: '1234567890',
} as const;

serve(9080, async (path) => (path.startsWith('/details/') ? { status: 200, body: DETAILS } : undefined));
