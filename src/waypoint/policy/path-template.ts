/** Path templates of policies: `{*}` is one segment, `{**}` any rest, also an empty one. Source: Envoy URI templates. */
import type { TextPredicate } from '../match/text-matcher.ts';

export function compileTemplate(template: string): TextPredicate {
  const parts = template.split(/(\{\*\*?\})/).map((part) => {
    if (part === '{*}') return '[^/]+';
    if (part === '{**}') return '.*';
    return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  const expression = new RegExp(`^${parts.join('')}$`);
  return (path) => expression.test(path);
}
