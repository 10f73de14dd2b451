/** The part of a room's log that is in the document. */

/** @import {LogHandlers, Message, Page} from './types' */
/** @import {Fetch} from './api.js' */

import { around, getMessages, persist } from './api.js';
import { Heard } from './heard.js';

/** How many messages a request asks for. */
const PAGE = 100;
/** A window that nobody trims takes no more; what comes then is loaded later. */
const MOST = 2_000;

export class Log {
  /** @type {Message[]} */
  window = [];
  /** Whether the window begins with the room's first message. */
  atStart = false;
  /** Whether what is heard is appended to the window. */
  atEnd = true;
  loading = false;
  /** Why nothing could be loaded so far. @type {string | null} */
  error = null;
  #heard = new Heard();
  /** The ids in the window. @type {Set<string>} */
  #ids = new Set();
  /** @type {AbortController | null} */
  #load = null;
  /** Whether loading failed for good, so that scrolling does not ask again and again. */
  #givenUp = false;
  #path;
  #fetchPage;
  #onChange;

  /** @param {string} roomId @param {LogHandlers} handlers */
  constructor(roomId, { fetchPage = getMessages, onChange }) {
    this.#path = `/api/room/${roomId}/messages?limit=${PAGE}`;
    this.#fetchPage = fetchPage;
    this.#onChange = onChange;
  }

  /** The last message of the log that was heard: where to go on. */
  get lastId() {
    return this.#heard.lastId;
  }

  /** Take up what is heard. Return whether it is new, and so counts. @param {Message} message */
  live(message) {
    const first = !this.lastId;
    if (!this.#heard.add(message)) return false;
    this.#givenUp = false;
    const known = this.#ids.has(message.id);
    if (this.atEnd) {
      if (this.window.length < MOST) this.#append([message]);
      else this.#setEnds(this.atStart, false);
    }
    if (first) void this.loadOlder();
    return !known;
  }

  /** Begin again with what is heard next. */
  restart() {
    this.stop();
    this.#heard = new Heard();
    this.#reset([]);
    this.#setEnds(false, true);
  }

  /** Give up what is being loaded. */
  stop() {
    this.#load?.abort();
    this.loading = false;
    this.error = null;
  }

  async loadOlder() {
    const cursor = this.window[0]?.id;
    if (this.atStart || this.loading || this.#givenUp || !cursor) return;
    await this.#get((fetch) => fetch(`&before=${cursor}`), (page) => {
      if (this.window[0]?.id !== cursor) return; // It was trimmed meanwhile.
      const messages = this.#unknown(page.messages);
      this.window.unshift(...messages);
      this.#onChange({ kind: 'prepend', messages });
      this.#setEnds(!page.prev, this.atEnd);
    });
  }

  async loadNewer() {
    const cursor = this.window.at(-1)?.id;
    if (this.atEnd || this.loading || this.#givenUp || !cursor) return;
    await this.#get((fetch) => fetch(`&after=${cursor}`), (page) => {
      if (this.window.at(-1)?.id !== cursor) return;
      this.#append(page.messages);
      this.#join(this.atStart, page);
    });
  }

  async jumpToEnd() {
    if (!this.atEnd) await this.#jump((fetch) => fetch(''));
  }

  /** Show what is around a message. Return whether there is such a one. @param {string} id */
  async jumpTo(id) {
    if (!this.#ids.has(id)) await this.#jump((fetch) => around(fetch, id));
    return this.#ids.has(id);
  }

  /** Drop the oldest messages. @param {number} max - how many may stay */
  trimOlder(max) {
    this.#trim('drop-first', this.window.splice(0, this.window.length - max));
  }

  /** Drop the newest messages. @param {number} max - how many may stay */
  trimNewer(max) {
    this.#trim('drop-last', this.window.splice(max));
  }

  /** @param {'drop-first' | 'drop-last'} kind @param {Message[]} dropped */
  #trim(kind, dropped) {
    if (!dropped.length) return;
    for (const { id } of dropped) this.#ids.delete(id);
    if (kind === 'drop-first') this.atStart = false;
    else this.atEnd = false;
    this.#onChange({ kind, count: dropped.length });
  }

  /** @param {(fetch: Fetch) => Promise<Page>} load */
  async #jump(load) {
    this.stop();
    await this.#get(load, (page) => {
      this.#reset(page.messages);
      this.#join(!page.prev, page);
    });
  }

  /** @param {(fetch: Fetch) => Promise<Page>} load @param {(page: Page) => void} use */
  async #get(load, use) {
    const { signal } = (this.#load = new AbortController());
    this.loading = true;
    this.#onChange({ kind: 'status' });
    const page = await persist(
      () => load((query) => this.#fetchPage(this.#path + query, signal)),
      signal,
      (reason) => {
        this.error = reason;
        this.#onChange({ kind: 'status' });
      },
    );
    if (signal.aborted) return; // What came after it has the state now.
    this.loading = false;
    this.#givenUp = !page;
    if (page) {
      this.error = null;
      use(page);
    }
    this.#onChange({ kind: 'status' });
  }

  /** Append what was heard while the last page came. @param {boolean} atStart @param {Page} page */
  #join(atStart, { next }) {
    if (!next) this.#append(this.#heard.since(this.window.at(-1)?.id));
    // The page may be newer than what was heard; or so much may have come that another is needed.
    this.#setEnds(atStart, !next && this.#ids.has(this.lastId ?? ''));
  }

  /** @param {Message[]} messages */
  #append(messages) {
    const unknown = this.#unknown(messages);
    this.window.push(...unknown);
    if (unknown.length) this.#onChange({ kind: 'append', messages: unknown });
  }

  /** @param {Message[]} messages */
  #reset(messages) {
    this.#ids.clear();
    this.window = this.#unknown(messages);
    this.#onChange({ kind: 'reset', messages: this.window });
  }

  /** @param {Message[]} messages */
  #unknown(messages) {
    const unknown = messages.filter(({ id }) => !this.#ids.has(id));
    for (const { id } of unknown) this.#ids.add(id);
    return unknown;
  }

  /** @param {boolean} atStart @param {boolean} atEnd */
  #setEnds(atStart, atEnd) {
    this.atStart = atStart;
    this.atEnd = atEnd;
    this.#onChange({ kind: 'status' });
  }
}
