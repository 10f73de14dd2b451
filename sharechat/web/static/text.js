/** Finds links and code in what people write, in time linear in its length. */

/** @import {Token} from './types' */

// What reorders text ends a link, so that it cannot be shown in another order than it has.
const LINK = /\bhttps?:\/\/[^\s<>"`\p{Cc}\p{Cf}\p{Cs}]+/giu;
const TRAILING = /[.,;:!?'*_~…、。，！？’”»]/;
const OPENING = new Map([[')', '('], [']', '['], ['}', '{'], ['）', '（']]);

/** Return the parts of a text, in order. @param {string} text */
export function parse(text) {
  /** @type {Token[]} */
  const tokens = [];
  const lastFence = text.lastIndexOf('```');
  let start = 0; // where the plain text begins that has no token yet
  let at = text.indexOf('`');
  while (at >= 0) {
    const code = (at + 3 <= lastFence && block(text, at)) || inline(text, at);
    let next = at + 1;
    if (code) {
      plain(text.slice(start, at), tokens);
      tokens.push(code.token);
      start = next = code.end;
    } else {
      while (text[next] === '`') next++;
    }
    at = text.indexOf('`', next);
  }
  plain(text.slice(start), tokens);
  return tokens;
}

/** @param {string} text @param {number} at @returns {{token: Token, end: number} | null} */
function block(text, at) {
  if (!text.startsWith('```', at)) return null;
  const end = text.indexOf('```', at + 3);
  // The first line may name the language.
  const inner = text.slice(at + 3, end).replace(/^[\w+#.-]*\r?\n/, '').replace(/\r?\n$/, '');
  return inner.trim() ? { token: { kind: 'block', text: inner }, end: end + 3 } : null;
}

/** @param {string} text @param {number} at @returns {{token: Token, end: number} | null} */
function inline(text, at) {
  const end = text.indexOf('`', at + 1);
  if (end < 0) return null;
  const inner = text.slice(at + 1, end);
  if (!inner.trim() || inner.includes('\n')) return null;
  return { token: { kind: 'code', text: inner }, end: end + 1 };
}

/** Append the tokens of a text without code. @param {string} text @param {Token[]} tokens */
function plain(text, tokens) {
  let start = 0;
  // Without need the expression is not compiled, which takes long.
  for (const match of text.includes('://') ? text.matchAll(LINK) : []) {
    const link = trimmed(match[0]);
    const href = hrefOf(link);
    if (!href) continue;
    if (match.index > start) tokens.push({ kind: 'text', text: text.slice(start, match.index) });
    tokens.push({ kind: 'link', text: link, href });
    start = match.index + link.length;
  }
  if (start < text.length) tokens.push({ kind: 'text', text: text.slice(start) });
}

/** Return a link without the punctuation of its sentence. @param {string} link */
function trimmed(link) {
  /** @type {Map<string, number>} */
  const count = new Map();
  for (const c of link) count.set(c, (count.get(c) ?? 0) + 1);
  let end = link.length;
  while (end > 0) {
    const last = link[end - 1];
    const opening = OPENING.get(last);
    const closes = count.get(last) ?? 0;
    if (opening ? closes <= (count.get(opening) ?? 0) : !TRAILING.test(last)) break;
    count.set(last, closes - 1);
    end--;
  }
  return link.slice(0, end);
}

/** @param {string} link */
function hrefOf(link) {
  try {
    const url = new URL(link);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
