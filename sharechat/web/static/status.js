/** Who is here, and how the connection is. */

/** @import {Message, State} from './types' */

import { ApiError, getRoom } from './api.js';
import { button, element, make } from './browser.js';
import { hueOf, safeName } from './names.js';

/** So many people are listed; the others are counted. */
const SHOWN = 200;
// Milliseconds.
const PAUSE = 250;
const RETRY = 5_000;
const PATIENCE = 1_000;

export class People {
  /** The names by the members' ids, in order of joining. @type {Map<string, string>} */
  #members = new Map();
  /** What came while the list was fetched; it may be in it already. @type {Message[]} */
  #since = [];
  /** @type {AbortController | null} */
  #load = null;
  #known = false;
  #timer = 0;
  #roomId;
  #isMe;

  /** @param {string} roomId @param {(memberId: string) => boolean} isMe */
  constructor(roomId, isMe) {
    this.#roomId = roomId;
    this.#isMe = isMe;
  }

  /** Fetch the list, since the page has just connected. */
  async load() {
    this.stop();
    const load = new AbortController();
    this.#load = load;
    this.#since = [];
    try {
      const { members } = await getRoom(this.#roomId, load.signal);
      if (load.signal.aborted) return;
      this.#members = new Map(members.map(({ id, name }) => [id, name]));
      this.#known = true;
      this.#since.forEach((message) => this.#apply(message));
      this.#load = null;
      this.#draw();
    } catch (error) {
      if (load.signal.aborted || !(error instanceof ApiError) || !error.retry) return;
      setTimeout(() => load === this.#load && this.load(), RETRY * (0.5 + Math.random()));
    }
  }

  stop() {
    this.#load?.abort();
    this.#load = null;
  }

  /** @param {Message} message */
  hear(message) {
    if (message.type === 'chat') return;
    if (this.#load) this.#since.push(message);
    this.#apply(message);
    // When a server starts again, everybody joins at once.
    this.#timer ||= setTimeout(() => this.#draw(), PAUSE);
  }

  /** @param {Message} message */
  #apply({ type, memberId, memberName }) {
    if (type === 'joined') this.#members.set(memberId, memberName);
    else this.#members.delete(memberId);
  }

  #draw() {
    this.#timer = 0;
    if (!this.#known) return;
    const all = [...this.#members];
    const [me, others] = [true, false].map((wanted) => all.filter(([id]) => this.#isMe(id) === wanted));
    const shown = [...me, ...others].slice(0, SHOWN);
    element('#people ul').replaceChildren(...shown.map(([id, name]) => {
      const item = make('li');
      item.style.setProperty('--hue', String(hueOf(name)));
      item.append(make('bdi', '', safeName(name)));
      if (this.#isMe(id)) item.append(make('span', 'you', 'you'));
      return item;
    }));
    const rest = all.length - shown.length;
    element('#people .hint').textContent = rest ? `and ${rest} more` : '';
    for (const count of document.querySelectorAll('.count')) count.textContent = `${all.length}`;
  }
}

/** One quiet line about the connection, once something has been wrong for a second. */
export class Banner {
  #line = element('#banner');
  #text = element('#banner p');
  #button = button('#banner button');
  #timer = 0;
  /** @type {State} */
  #state = { kind: 'connecting' };
  #again;
  #doing = 'Connecting…';
  /** Why there is no connection. */
  #reason = '';
  #warning = '';

  /** @param {() => void} again - tries to connect */
  constructor(again) {
    this.#again = again;
    for (const type of ['online', 'offline']) addEventListener(type, () => this.show(this.#state));
    this.show(this.#state);
  }

  focus() {
    this.#button.focus();
  }

  /** @param {State} state */
  show(state) {
    this.#state = state;
    if (state.kind === 'connected') this.#doing = 'Reconnecting…';
    if (state.kind !== 'connecting') this.#reason = state.kind === 'waiting' ? state.reason : '';
    // A websocket may look well long after the network has gone.
    if ((state.kind === 'connected' && navigator.onLine) || state.kind === 'ended') {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#draw();
    } else {
      this.#timer ||= setTimeout(() => this.#draw(true), PATIENCE);
      if (this.#isShown) this.#draw();
    }
  }

  /** Is shown while there is nothing worse. @param {string} text */
  set warning(text) {
    this.#warning = text;
    this.#draw();
  }

  get #isShown() {
    return this.#line.classList.contains('shown');
  }

  #draw(late = this.#isShown) {
    const state = this.#state;
    const ended = state.kind === 'ended';
    let text = this.#warning;
    let action = '';
    let act = this.#again;
    if (ended) {
      text = `${state.outcome.text} ${text}`;
      action = state.outcome.gone ? 'New room' : 'Try again';
      if (state.outcome.gone) act = () => button('#new-room').click();
    } else if (late && !navigator.onLine) {
      text = 'You are offline. What you write is kept, and sent when you are back.';
    } else if (late && state.kind !== 'connected') {
      // The same during an attempt, so that a screen reader is not told again and again.
      text = `${this.#reason} ${this.#doing}`;
      action = 'Try now';
    }
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#line.classList.toggle('shown', !!text);
    this.#line.classList.toggle('ended', ended);
    if (!action && this.#button === document.activeElement) element('#box').focus();
    this.#button.hidden = !action;
    this.#button.classList.toggle('primary', ended);
    this.#button.textContent = action;
    this.#button.onclick = act;
  }
}
