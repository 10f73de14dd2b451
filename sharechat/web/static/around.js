/** What is around the talk: the menu and its dialogs, title, icon, notifications, announcements. */

/** @import {Message} from './types' */

import { ApiError, deleteRoom } from './api.js';
import { button, element, find, make, openDialog, recall, remember, sentenceOf } from './browser.js';
import { safeName } from './names.js';

const LONGEST = 200;
/** So many messages at once are read out; more are counted. */
const READ_OUT = 3;

/** What tells a reader who looks elsewhere, or does not look. */
export class Attention {
  #icon = find('#icon', HTMLLinkElement);
  #plain = this.#icon.href;
  #dotted = '';
  #button = button('#notify');
  #key;
  /** @type {Message[]} */
  #heard = [];
  #room = '';
  #unread = 0;
  #notifies = false;

  /** @param {string} roomId */
  constructor(roomId) {
    this.#key = `sharechat:notify:${roomId}`;
    if (typeof Notification === 'undefined' || !isSecureContext) return;
    this.#button.hidden = false;
    this.#button.onclick = () => this.#toggle();
    this.#setNotifies(!!recall(this.#key) && Notification.permission === 'granted');
  }

  async #drawDot() {
    const plain = await (await fetch(this.#plain)).text();
    const dotted = plain.replace('</svg>', '<circle cx="50" cy="14" r="14" fill="#e5484d"/></svg>');
    this.#dotted = `data:image/svg+xml,${encodeURIComponent(dotted)}`;
    this.#draw();
  }

  /** @param {string} name */
  set room(name) {
    this.#room = name;
    this.#draw();
  }

  /** @param {number} count */
  set unread(count) {
    if (count === this.#unread) return;
    this.#unread = count;
    this.#draw();
  }

  /** @param {Message} message - said just now by someone else */
  hear(message) {
    if (this.#heard.push(message) === 1) setTimeout(() => this.#readOut(), 300);
    if (this.#notifies && document.hidden) this.#notify(message);
  }

  #readOut() {
    const heard = this.#heard.splice(0);
    if (heard.length > READ_OUT) announce(`${heard.length} new messages`);
    else for (const message of heard) announce(`${safeName(message.memberName)}: ${short(message)}`);
  }

  #draw() {
    const count = this.#unread;
    document.title = `${count ? `(${count}) ` : ''}${this.#room} · sharechat`;
    if (count && !this.#dotted) this.#drawDot().catch(() => {});
    const icon = (count && this.#dotted) || this.#plain;
    if (this.#icon.href !== icon) this.#icon.href = icon;
  }

  async #toggle() {
    // The browser is asked only now that the reader wants it.
    const may = this.#notifies || (await Notification.requestPermission()) === 'granted';
    if (may) this.#setNotifies(!this.#notifies);
    else this.#button.textContent = 'Notifications are blocked';
  }

  /** @param {boolean} on */
  #setNotifies(on) {
    this.#notifies = on;
    remember(this.#key, on ? '1' : '');
    this.#button.textContent = 'Notify me';
    this.#button.ariaPressed = `${on}`;
  }

  /** @param {Message} message */
  #notify(message) {
    try {
      const title = `${safeName(message.memberName)} in ${this.#room}`;
      const options = { body: short(message), tag: message.roomId, icon: this.#plain };
      const notification = new Notification(title, options);
      notification.onclick = () => {
        window.focus();
        notification.close();
      };
    } catch {
      // Chrome on Android has the constructor, but leaves it to service workers.
      this.#setNotifies(false);
      this.#button.hidden = true;
    }
  }
}

/** @param {Message} message */
const short = ({ message }) =>
  message.length > LONGEST ? `${message.slice(0, LONGEST)}…` : message;

/** Have a screen reader say something. @param {string} text */
function announce(text) {
  const announcer = element('#announcer');
  announcer.append(make('div', '', text));
  while (announcer.childElementCount > 6) announcer.firstChild?.remove();
}

/** @param {string} roomId @param {() => string | null} key - what deletes the room */
export function setUpMenu(roomId, key) {
  const link = `${location.origin}/room/${roomId}`;
  const menu = element('#menu');
  const share = find('#share-dialog', HTMLDialogElement);
  const remove = find('#delete-dialog', HTMLDialogElement);

  const openShare = () => {
    menu.hidePopover();
    const field = find('#share-link', HTMLInputElement);
    field.value = link;
    // The server does not know the scheme if TLS ends at a proxy.
    const code = `/room/${roomId}/qr.svg?scheme=${location.protocol.slice(0, -1)}`;
    find('#qr', HTMLImageElement).src = code;
    openDialog(share);
    field.select();
  };
  button('#share').onclick = button('#start button').onclick = openShare;

  for (const copies of [button('#copy'), button('#share-copy')]) {
    const label = copies.querySelector('span') ?? copies;
    const text = label.textContent;
    copies.onclick = async () => {
      if (!(await copy(link))) return openShare();
      announce('The link has been copied.');
      label.textContent = 'Copied';
      setTimeout(() => (label.textContent = text), 2_000);
    };
  }

  const system = button('#share-system');
  system.hidden = !navigator.share;
  // It rejects if the reader changes their mind.
  system.onclick = () => navigator.share({ title: document.title, url: link }).catch(() => {});

  const error = element('.error', remove);
  button('#delete').hidden = !key();
  button('#delete').onclick = () => {
    menu.hidePopover();
    error.textContent = '';
    openDialog(remove);
  };
  button('#delete-now').onclick = async () => {
    try {
      await deleteRoom(roomId, key() ?? '');
      remove.close();
    } catch (reason) {
      if (reason instanceof ApiError && reason.gone) remove.close();
      else error.textContent = sentenceOf(reason);
    }
  };
}

/** @param {string} text @returns {Promise<boolean>} whether it is in the clipboard */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard is missing where the page comes over plain HTTP.
  }
  const active = document.activeElement;
  const area = make('textarea', 'unseen', text);
  // What is outside of an open dialog cannot have the focus.
  (document.querySelector('dialog[open]') ?? document.body).append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  if (active instanceof HTMLElement) active.focus();
  return copied;
}
