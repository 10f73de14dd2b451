/** What a close code means to a person, by the server's table of outcomes. */

/** @import {Outcome} from './types' */

// A proxy before the server closes with codes of its own; none of them is about the room.
const LOSSES = [1000, 1001, 1005, 1006, 1014];
const RETRIED = [...LOSSES, 1011, 1012, 1013, 4400, 4429, 4430, 4450, 4451, 4452];

/** @param {number} code @param {string} [reason] - the server's @returns {Outcome} */
export function outcomeOfClose(code, reason) {
  let text = reason || `The server ended the connection (${code}).`;
  if (code === 4404) text = 'This room does not exist. It may have been deleted.';
  else if (LOSSES.includes(code)) text = 'The connection was lost.';
  else if (code < 1010) text = 'The server did not understand this page. Reload it.';
  return { text, retry: RETRIED.includes(code), gone: code === 4404 || code === 4410 };
}
