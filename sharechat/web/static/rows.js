/** What stands in the log: one row for each chat message, and one for joins and leaves in a row. */

/** @import {Message} from './types' */

import { make } from './browser.js';
import { safeName } from './names.js';
import { appendText, makeBy, nameOfDay, timeOf } from './pieces.js';

/** Messages of one person within this time stand under one name. */
const GROUP = 5 * 60_000;
/** So many joins and leaves in a row are told apart; more are counted. */
const FEW = 3;

/** @param {Message} message */
const isNotice = ({ type }) => type !== 'chat';

export class Row {
  /** @type {Message[]} more than one only if they are joins and leaves */
  messages;
  node = make('div', 'row');
  /** @type {HTMLElement | null} */
  #day = null;
  /** @type {HTMLElement | null} */
  #new = null;
  /** @type {HTMLElement | null} */
  #by = null;
  /** @type {HTMLDetailsElement | null} */
  #details = null;
  /** What stands below the lines and the name, and so does not move when they come or go. */
  body;
  #isMine;

  /** @param {Message} message @param {(memberId: string) => boolean} isMine */
  constructor(message, isMine) {
    this.messages = [message];
    this.#isMine = isMine;
    if (isNotice(message)) {
      this.node.classList.add('notice');
      this.body = make('div');
      this.node.append(this.body);
      this.#drawNotices();
    } else {
      this.body = appendText(this.node, message.message);
      this.node.append(timeOf(message, 'at'));
    }
  }

  get first() {
    return this.messages[0];
  }

  get last() {
    return this.messages[this.messages.length - 1];
  }

  /**
   * Take up a row of joins and leaves that comes just before or after this one.
   * @param {Row} row
   * @param {boolean} before
   * @returns {boolean} whether they belong together
   */
  absorb(row, before) {
    if (!isNotice(row.first) || !isNotice(this.first) || !sameDay(row.first, this.first)) return false;
    if (before) this.messages.unshift(...row.messages);
    else this.messages.push(...row.messages);
    this.#drawNotices();
    return true;
  }

  /** @param {number} count - of messages to drop; some stay @param {boolean} atStart */
  drop(count, atStart) {
    this.messages.splice(atStart ? 0 : -count, count);
    this.#drawNotices();
  }

  /**
   * Show what depends on the row before: the day, and who speaks.
   * @param {Row | undefined} before
   */
  follow(before) {
    const newDay = !before || !sameDay(before.last, this.first);
    if (newDay && !this.#day) {
      this.#day = make('h2', 'day', nameOfDay(this.first));
      this.node.prepend(this.#day);
    } else if (!newDay) {
      this.#day?.remove();
      this.#day = null;
    }
    if (isNotice(this.first)) return;
    const speaks = newDay || !!this.#new || !continues(before.last, this.first);
    if (speaks && !this.#by) {
      this.#by = makeBy(this.first, this.#isMine(this.first.memberId));
      this.body.before(this.#by);
    } else if (!speaks) {
      this.#by?.remove();
      this.#by = null;
    }
    this.node.classList.toggle('follows', !speaks);
  }

  get new() {
    return !!this.#new;
  }

  /** @param {boolean} shown - whether the line stands above that says where one left off */
  set new(shown) {
    this.#new?.remove();
    this.#new = shown ? make('div', 'new', 'New') : null;
    if (this.#new) (this.#by ?? this.body).before(this.#new);
  }

  #drawNotices() {
    const time = timeOf(this.last);
    const joined = this.messages.filter(({ type }) => type === 'joined').length;
    const left = this.messages.length - joined;
    if (this.messages.length <= FEW) {
      const parts = this.messages.flatMap((message, i) => [i ? ' · ' : '', ...this.#notice(message)]);
      this.#details = null;
      this.body.replaceChildren(...parts, ' ', time);
      return;
    }
    if (!this.#details) {
      this.#details = make('details');
      this.#details.append(make('summary'), make('ul'));
      this.#details.ontoggle = () => this.#list();
      this.body.replaceChildren(this.#details);
    }
    const counts = [joined && `${joined} joined`, left && `${left} left`];
    // It stays the same element, since it may have the focus.
    this.#details.firstElementChild?.replaceChildren(counts.filter(Boolean).join(', '), ' ', time);
    this.#list();
  }

  /** Name them, once somebody wants to know. */
  #list() {
    if (!this.#details?.open) return;
    this.#details.lastElementChild?.replaceChildren(...this.messages.map((message) => {
      const item = make('li');
      item.append(...this.#notice(message), ' ', timeOf(message));
      return item;
    }));
  }

  /** @param {Message} message @returns {(Node | string)[]} */
  #notice({ memberId, memberName, type }) {
    const name = make('bdi', '', safeName(memberName));
    return [name, this.#isMine(memberId) ? ' (you)' : '', type === 'joined' ? ' joined' : ' left'];
  }
}

/** @type {(a: Message, b: Message) => boolean} */
const sameDay = (a, b) => new Date(a.sent).toDateString() === new Date(b.sent).toDateString();

/** @type {(a: Message, b: Message) => boolean} */
const continues = (a, b) =>
  !isNotice(a) && a.memberId === b.memberId && Date.parse(b.sent) - Date.parse(a.sent) < GROUP;
