/** What is shown of a member's name, and in which colour. */

/** Return a hue, 0 to 359 degrees: always the same for the same text. @param {string} text */
export function hueOf(text) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const c of text) hash = Math.imul(hash ^ (c.codePointAt(0) ?? 0), 0x01000193);
  return (hash >>> 0) % 360;
}

/** Return a name that cannot disturb what stands beside it. @param {unknown} name */
export function safeName(name) {
  const text = String(name ?? '');
  // Most are such, and what is below takes long to be compiled.
  if (/^\w[\w ]{0,58}\w$/.test(text)) return text;
  const plain = text
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ')
    // More than two marks on one character would paint over the lines around it.
    .replace(/(\p{M}{2})\p{M}+/gu, '$1')
    .trim();
  return [...plain].slice(0, 60).join('') || 'Somebody';
}
