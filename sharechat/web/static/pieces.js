/** The parts of a row: who, what and when. */

import { make, makeButton } from './browser.js';
import { hueOf, safeName } from './names.js';
import { parse } from './text.js';

/** Beyond these a message is shown in part until one asks for the rest. */
const MANY_CHARACTERS = 1800;
const MANY_LINES = 24;

// Each is made when it is needed, since making one takes milliseconds on a phone.
/** @type {Record<string, Intl.DateTimeFormat>} */
const formats = {};
/** @param {Date} date @param {Intl.DateTimeFormatOptions} options */
const format = (date, options) =>
  (formats[Object.values(options).join()] ??= new Intl.DateTimeFormat(undefined, options)).format(date);

/** @param {{memberName: string, sent?: string}} message @param {boolean} mine */
export function makeBy({ memberName, sent }, mine) {
  const name = safeName(memberName);
  const by = make('div', 'by');
  by.style.setProperty('--hue', String(hueOf(memberName)));
  by.dataset.initials = name.split(' ').slice(0, 2).map((word) => [...word][0] ?? '').join('');
  by.append(make('bdi', 'name', name));
  if (mine) by.append(make('span', 'you', 'you'));
  if (sent) by.append(timeOf({ sent }));
  return by;
}

/**
 * Append a message's text to a row, and return it.
 * @param {HTMLElement} row
 * @param {string} text
 */
export function appendText(row, text) {
  const body = make('div', 'text');
  body.dir = 'auto';
  row.append(body);
  /** @type {string | undefined} */
  let before;
  for (const token of parse(text)) {
    if (token.kind === 'text') {
      // A block is on lines of its own anyway.
      body.append(before === 'block' ? token.text.replace(/^\n/, '') : token.text);
    } else if (token.kind === 'link') {
      const link = make('a', '', token.text);
      link.href = token.href ?? token.text;
      link.target = '_blank';
      link.rel = 'noopener noreferrer';
      body.append(link);
    } else {
      const code = make('code', '', token.text);
      const block = token.kind === 'block' ? make('pre') : null;
      block?.append(code);
      body.append(block ?? code);
    }
    before = token.kind;
  }
  if (text.length > MANY_CHARACTERS || text.split('\n', MANY_LINES + 1).length > MANY_LINES) {
    row.classList.add('long');
    const more = makeButton('Show all', () => {
      const long = row.classList.toggle('long');
      more.textContent = long ? 'Show all' : 'Show less';
      more.setAttribute('aria-expanded', String(!long));
    });
    more.className = 'more';
    more.setAttribute('aria-expanded', 'false');
    row.append(more);
  }
  return body;
}

/** @param {{sent: string}} message @param {string} [className] */
export function timeOf({ sent }, className) {
  const date = new Date(sent);
  const time = make('time', className, format(date, { timeStyle: 'short' }));
  time.dateTime = sent;
  time.title = format(date, { dateStyle: 'full', timeStyle: 'medium' });
  return time;
}

/** Not "today", which would be wrong after midnight. @param {{sent: string}} message */
export function nameOfDay({ sent }) {
  const date = new Date(sent);
  const year = date.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';
  return format(date, { weekday: 'long', day: 'numeric', month: 'long', year });
}
