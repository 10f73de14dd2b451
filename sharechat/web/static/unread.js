/** What is new to the reader: the line above it, and the buttons that lead there and to the end. */

/** @import {Message} from './types' */
/** @import {Log} from './log.js' */
/** @import {LogView} from './log_view.js' */

import { button, element } from './browser.js';

/**
 * `lastRead` is from an earlier visit; `onRead` gets what was read last, null if that is not new.
 * @typedef {{isMine(memberId: string): boolean, onRead(messageId: string | null): void,
 *   lastRead: string | null}} Options
 */

export class Unread {
  /** Messages of others that came since the end was last seen. */
  count = 0;
  /** What was heard since something was drawn. @type {string[]} */
  #heard = [];
  #view;
  #log;
  #options;
  #toEnd = button('#to-end');
  #toNew = button('#to-unread');
  /** Where the reader of an earlier visit left off, until that is found in the log. */
  #leftOff;
  /** The first message that is new; the line stands above it. @type {string | null} */
  #newId = null;
  /** How many are new, for the button that leads to the line; 0 once the line was seen. */
  #above = 0;

  /** @param {LogView} view @param {Log} log @param {Options} options */
  constructor(view, log, options) {
    this.#view = view;
    this.#log = log;
    this.#options = options;
    this.#leftOff = options.lastRead;
    this.#toEnd.onclick = () => {
      void view.toEnd();
      view.scroller.focus();
    };
    this.#toNew.onclick = () => this.#goToNew();
  }

  /** @param {Message} message - heard just now, and said by someone else */
  hear({ id }) {
    this.#heard.push(id);
    // A hidden page is drawn rarely, but its title counts at once.
    if (document.hidden) this.countHeard();
  }

  /** Count what was heard, unless the end is in view; right before that is drawn. */
  countHeard() {
    const heard = this.#heard.splice(0);
    if (!heard.length || (!document.hidden && this.#view.scroller.pinned)) return;
    if (!this.count) this.#mark(heard[0]);
    this.count += heard.length;
    this.#above = this.count;
  }

  /** Forget the line: whoever answers has read what is above. */
  clear() {
    this.#leftOff = null;
    this.#mark(null);
  }

  /** @param {string} messageId */
  beginsWith = (messageId) => messageId === this.#newId;

  /** Find where the line belongs, once what was read on an earlier visit is in the log. */
  find() {
    const { window, atStart } = this.#log;
    if (!this.#leftOff || !window.length) return;
    const read = window.findIndex(({ id }) => id === this.#leftOff);
    if (read < 0 && !atStart) return;
    this.#leftOff = null;
    if (read < 0) return;
    const news = window.slice(read + 1).filter(
      ({ type, memberId }) => type === 'chat' && !this.#options.isMine(memberId),
    );
    if (news.length) this.#mark(news[0].id);
    this.#above = news.length;
  }

  /** The view has moved, or what is in it. */
  update() {
    const { scroller, rows } = this.#view;
    const { window, atEnd, atStart } = this.#log;
    const { pinned } = scroller;
    if (!document.hidden && pinned && atEnd) {
      this.count = 0;
      this.#options.onRead(window.at(-1)?.id ?? null);
    } else if (this.count) {
      this.#options.onRead(null);
    }
    if (this.#above && !document.hidden) {
      const row = rows.find(({ first }) => first.id === this.#newId);
      if (row && !scroller.isAbove(row)) this.#above = 0;
    }
    if (this.#leftOff && window.length && !atStart) show(this.#toNew, 'New since your last visit');
    else show(this.#toNew, this.#above && pinned ? `${this.#above} new above` : '');
    this.#toEnd.classList.toggle('some', this.count > 0);
    const far = !pinned && (!atEnd || !scroller.nearEnd());
    show(this.#toEnd, this.count && !pinned ? `${this.count} new` : far ? 'Latest' : '');
  }

  /** @param {string | null} id */
  #mark(id) {
    this.#newId = id;
    this.#above = 0;
    const { rows } = this.#view;
    rows.forEach((row, i) => {
      if (row.new === (row.first.id === id)) return;
      row.new = row.first.id === id;
      row.follow(rows[i - 1]);
    });
  }

  async #goToNew() {
    const id = this.#newId ?? this.#leftOff;
    if (!id) return;
    const { scroller } = this.#view;
    scroller.pinned = false;
    if (!(await this.#log.jumpTo(id))) return;
    this.#view.draw();
    this.#above = 0;
    scroller.show(this.#view.rows.find(({ first }) => first.id === this.#newId));
    scroller.focus();
  }
}

/** @param {HTMLButtonElement} pill @param {string} text - none hides it */
function show(pill, text) {
  // A button that goes while it has the focus leaves it to the log.
  if (!text && pill === document.activeElement) element('#scroller').focus();
  pill.hidden = !text;
  if (pill.textContent !== text) pill.textContent = text;
}
