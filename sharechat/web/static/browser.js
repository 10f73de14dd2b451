/** Short ways to what the browser has: the document, and what this tab remembers. */

import { createRoom } from './api.js';
import { visit } from './browser_storage.js';

/**
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type
 * @param {ParentNode} [within]
 */
export function find(selector, type, within = document) {
  const found = within.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`The document has no ${selector}.`);
  return found;
}

/** @param {string} selector */
export const element = (selector, within = document.body) => find(selector, HTMLElement, within);

/** @param {string} selector */
export const button = (selector) => find(selector, HTMLButtonElement);

/** Text is only ever set as text. @template {keyof HTMLElementTagNameMap} K @param {K} tag */
export function make(tag, className = '', text = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** @param {() => void} onClick */
export function makeButton(text = '', onClick) {
  const made = make('button', '', text);
  made.type = 'button';
  made.onclick = onClick;
  return made;
}

/**
 * Open a dialog. Its buttons with `value="close"` close it, as do Escape and a click beside it.
 * @param {HTMLDialogElement} dialog
 */
export function openDialog(dialog) {
  dialog.onclick = ({ target }) => {
    const closes = target instanceof HTMLButtonElement && target.value === 'close';
    if (closes || target === dialog) dialog.close();
  };
  dialog.showModal();
}

/**
 * Have the button "New room" make a room, once however often it is clicked, and go there.
 * @param {(sentence: string) => void} onError
 */
export function setUpNewRoom(onError) {
  let busy = false;
  button('#new-room').onclick = async () => {
    if (busy) return;
    busy = true;
    onError('');
    try {
      const { roomId, roomName, key } = await createRoom();
      visit({ id: roomId, name: roomName, key });
      location.assign(`/room/${roomId}`);
    } catch (error) {
      busy = false;
      onError(sentenceOf(error));
    }
  };
  // A page that comes back from the browser's cache is as it was left.
  addEventListener('pageshow', () => (busy = false));
}

/** @param {unknown} error */
export const sentenceOf = (error) => (error instanceof Error ? error.message : String(error));

/** What this tab remembers over a reload, if the browser allows it. @param {string} key */
export function recall(key) {
  try {
    return sessionStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} key */
export function remember(key, text = '') {
  try {
    sessionStorage.setItem(key, text);
  } catch {
    // Then it holds until the page is reloaded.
  }
}
