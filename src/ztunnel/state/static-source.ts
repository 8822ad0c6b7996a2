/** The reader of static configuration, with the libraries that it needs, is loaded only where there is one to read. */
import type { StaticConfig } from './static-config.ts';

/** As `parseStaticConfig`: rejects with ERR_CONFIG and every problem. */
export async function readStaticConfig(text: string): Promise<StaticConfig> {
  const { parseStaticConfig } = await import('./static-config.ts');
  return parseStaticConfig(text);
}
