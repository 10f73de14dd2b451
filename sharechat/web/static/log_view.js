/** The log as it stands in the document: draws changes once a frame, and keeps the view steady. */

/** @import {Change, Message} from './types' */
/** @import {Log} from './log.js' */
/** @import {Options} from './unread.js' */

import { element } from './browser.js';
import { Row } from './rows.js';
import { Scroller } from './scroller.js';
import { Unread } from './unread.js';

/** With more rows than MOST, those that are far away are dropped until KEPT are left. */
const MOST = 500;
const KEPT = 350;
/** Joins and leaves share a row, so messages are counted as well. */
const MOST_MESSAGES = 1_200;
const PAUSE = 80;

export class LogView {
  /** @type {Row[]} */
  rows = [];
  /** @type {Change[]} */
  #changes = [];
  #scheduled = false;
  /** When it was drawn last, and how long that took, in milliseconds. */
  #drawn = 0;
  #cost = 0;
  #log;
  #isMine;
  #onDraw;
  #list = element('#log');
  #start = element('#start');
  ended = false;
  scroller;
  unread;

  /** @param {Log} log @param {Options & {onDraw(): void}} options */
  constructor(log, { isMine, onDraw, ...options }) {
    this.#log = log;
    this.#isMine = isMine;
    this.scroller = new Scroller(() => this.rows, () => this.#moved());
    this.unread = new Unread(this, log, { isMine, ...options });
    this.#onDraw = onDraw;
    document.addEventListener('visibilitychange', () => this.draw());
  }

  /** Whether the last message is one's own. */
  get endsWithMine() {
    const last = this.rows.at(-1)?.last;
    return last?.type === 'chat' && this.#isMine(last.memberId);
  }

  /** @param {Change} change */
  change(change) {
    // The log goes on changing its window before this is drawn.
    this.#changes.push(change.kind === 'reset' ? { ...change, messages: [...change.messages] } : change);
    this.schedule();
  }

  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A single message is drawn at once; in a busy room many are drawn together, so that there is
    // time left for the reader's own doing, also on a slow phone.
    const pause = this.#drawn + Math.max(PAUSE, 4 * this.#cost) - performance.now();
    if (document.hidden) setTimeout(this.#drawScheduled, 250); // There are no frames.
    else setTimeout(() => requestAnimationFrame(this.#drawScheduled), pause);
  }

  /** Show the newest messages, since the reader said something or wants to see them. */
  async toEnd() {
    await this.#log.jumpToEnd();
    this.scroller.pinned = true;
    this.draw();
  }

  #drawScheduled = () => this.#scheduled && this.draw();

  draw() {
    const start = performance.now();
    this.#scheduled = false;
    this.unread.countHeard();
    this.#apply();
    this.#trim();
    this.#apply();
    this.unread.find();
    this.#drawStart();
    this.#onDraw();
    this.scroller.settle();
    this.#moved();
    this.#drawn = performance.now();
    this.#cost = this.#drawn - start;
  }

  #apply() {
    const changes = this.#changes;
    this.#changes = [];
    for (const change of changes) {
      if (change.kind === 'reset') {
        this.#drop(Infinity, true);
        this.#append(change.messages);
        if (!this.scroller.pinned && !this.#log.atEnd) this.scroller.forget();
      } else if (change.kind === 'append') this.#append(change.messages);
      else if (change.kind === 'prepend') this.#prepend(change.messages);
      else if (change.kind !== 'status') this.#drop(change.count, change.kind === 'drop-first');
    }
  }

  /** @param {Message[]} messages @param {Row} [before] */
  #make(messages, before) {
    const rows = [];
    for (const message of messages) {
      const row = new Row(message, this.#isMine);
      if (before?.absorb(row, false)) continue;
      row.new = this.unread.beginsWith(message.id);
      row.follow(before);
      rows.push(row);
      before = row;
    }
    return rows;
  }

  /** @param {Message[]} messages */
  #append(messages) {
    const rows = this.#make(messages, this.rows.at(-1));
    this.rows.push(...rows);
    this.#list.append(...rows.map(({ node }) => node));
  }

  /** @param {Message[]} messages */
  #prepend(messages) {
    const rows = this.#make(messages);
    const last = rows.at(-1);
    const first = this.rows[0];
    if (last && first?.absorb(last, true)) rows.pop();
    this.#list.prepend(...rows.map(({ node }) => node));
    first?.follow(rows.at(-1));
    this.rows.unshift(...rows);
  }

  /** @param {number} count - of messages @param {boolean} atStart */
  #drop(count, atStart) {
    while (count > 0) {
      const row = atStart ? this.rows[0] : this.rows.at(-1);
      if (!row) return;
      const { length } = row.messages;
      if (length > count) {
        row.drop(count, atStart);
        break;
      }
      // A focus in what goes would be lost.
      if (row.node.contains(document.activeElement)) this.scroller.focus();
      row.node.remove();
      if (atStart) this.rows.shift();
      else this.rows.pop();
      count -= length;
    }
    if (atStart) this.rows[0]?.follow(undefined);
  }

  #trim() {
    const { length } = this.#log.window;
    if (this.rows.length <= MOST && length <= MOST_MESSAGES) return;
    const older = this.scroller.pinned || this.scroller.index() > this.rows.length / 2;
    const near = older ? this.rows.slice(-KEPT) : this.rows.slice(0, KEPT);
    const left = near.reduce((sum, { messages }) => sum + messages.length, 0);
    if (older) this.#log.trimOlder(Math.min(left, MOST_MESSAGES - 200));
    else this.#log.trimNewer(Math.min(left, MOST_MESSAGES - 200));
  }

  #drawStart() {
    const { atStart, loading, error, window } = this.#log;
    const [text, share] = [element('p', this.#start), element('button', this.#start)];
    const quiet = atStart && !window.some(({ type }) => type === 'chat');
    this.#start.hidden = !window.length || !(atStart || error || loading);
    this.#start.classList.toggle('quiet', quiet);
    share.hidden = !quiet;
    text.textContent =
      (error && `Older messages cannot be loaded just now. ${error}`) ||
      (quiet && 'Nobody has said anything yet. Send the room’s link to anyone you want to join.') ||
      (atStart ? 'This is the beginning of the room.' : 'Loading…');
  }

  /** The view has moved, or what is in it. */
  #moved() {
    const { window, atEnd, error } = this.#log;
    this.scroller.canPin = atEnd;
    // After an error that is final, or the end of the room, nothing more is asked for.
    if (!error && !this.ended) {
      if (window.length < MOST_MESSAGES - 200 && this.scroller.nearStart()) void this.#log.loadOlder();
      // More than a window holds came between two frames; the reader goes on following.
      if (!atEnd && this.scroller.pinned) {
        if (!this.#log.loading) void this.#log.jumpToEnd();
      } else if (!atEnd && this.scroller.nearEnd()) void this.#log.loadNewer();
    }
    this.unread.update();
  }
}
