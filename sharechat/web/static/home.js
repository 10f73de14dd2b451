/** The first page: make a room, join one by its link, go back to one. */

/** @import {VisitedRoom} from './types' */

import { roomOfText } from './api.js';
import { forget, rooms } from './browser_storage.js';
import { button, element, find, make, makeButton, setUpNewRoom } from './browser.js';
import { safeName } from './names.js';

const field = find('#link', HTMLInputElement);
const linkError = element('#link-error');
const list = element('#visited-list');
const SURE =
  'You made this room, and only this list has the key to delete it. Remove it from the list?';

setUpNewRoom((sentence) => {
  element('#new-room-error').textContent = sentence;
});

/** @param {string} sentence */
function complain(sentence) {
  linkError.textContent = sentence;
  field.setAttribute('aria-invalid', String(!!sentence));
}

find('#join', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  const id = roomOfText(field.value);
  if (id) {
    location.assign(`/room/${id}`);
    return;
  }
  const empty = !field.value.trim();
  complain(empty ? 'Paste the link of a room first.' : 'This is not the link of a room.');
  field.focus();
});
field.addEventListener('input', () => complain(''));
// Also when one comes back to this page from a room, or has been in one in another tab.
addEventListener('pageshow', draw);
addEventListener('storage', draw);

function draw() {
  const visited = rooms();
  element('#visited').hidden = !visited.length;
  list.replaceChildren(...visited.map(item));
}

/** @param {VisitedRoom} room */
function item({ id, name, visited, key }) {
  const row = make('li');
  const link = make('a');
  link.href = `/room/${id}`;
  link.append(
    make('bdi', '', safeName(name)),
    make('span', 'hint', key ? `${ago(visited)} · made by you` : ago(visited)),
  );
  const remove = makeButton('Remove', () => {
    if (!key || confirm(SURE)) drop(id);
  });
  remove.className = 'plain';
  remove.setAttribute('aria-label', `Remove ${safeName(name)} from the list`);
  row.append(link, remove);
  return row;
}

/** @param {string} id */
function drop(id) {
  const index = rooms().findIndex((room) => room.id === id);
  forget(id);
  draw();
  // The button that had the focus is gone.
  const buttons = list.querySelectorAll('button');
  (buttons[Math.min(index, buttons.length - 1)] ?? button('#new-room')).focus();
}

/** @param {number} visited */
function ago(visited) {
  const minutes = Math.max(0, (Date.now() - visited) / 60_000);
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: 'auto' });
  if (minutes < 60) return minutes < 1 ? 'just now' : format.format(-Math.floor(minutes), 'minute');
  if (minutes < 1440) return format.format(-Math.floor(minutes / 60), 'hour');
  return format.format(-Math.floor(minutes / 1440), 'day');
}
