/** Keeps what is read where it is, whatever comes or goes above and below. */

/** @import {Row} from './rows.js' */

import { element } from './browser.js';

export class Scroller {
  /** Whether the end stays in view as messages come. */
  pinned = true;
  #canPin = true;
  #view = element('#scroller');
  #rows;
  /** A row that is to stay where it is, and where that is. @type {{row: Row, top: number} | null} */
  #anchor = null;
  /** The last position that is known, to see in which direction the reader scrolls. */
  #top = 0;

  /** @param {() => Row[]} rows @param {() => void} onMove */
  constructor(rows, onMove) {
    this.#rows = rows;
    const view = this.#view;
    view.addEventListener('scroll', () => {
      // By the direction: in a busy room a distance would never be reached before the next message.
      const stays = this.pinned && view.scrollTop >= this.#top - 1;
      this.pinned = stays || (this.#canPin && this.#rest() <= 2);
      this.#top = view.scrollTop;
      this.#remember();
      onMove();
    }, { passive: true });
    view.addEventListener('wheel', ({ deltaY }) => {
      if (deltaY >= 0 || view.scrollTop <= 0) return;
      this.pinned = false;
      this.#remember();
    }, { passive: true });
    // What opens under the reader's hand stays there, and what follows makes way.
    view.addEventListener('click', ({ target }) => {
      const opens = target instanceof Element && target.closest('.more, summary');
      const row = opens && this.#rows().find(({ node }) => node.contains(opens));
      if (!row) return;
      this.pinned = false;
      this.#anchor = { row, top: topOf(row) };
    }, { capture: true });
    const observer = new ResizeObserver(() => {
      this.settle();
      onMove();
    });
    observer.observe(view);
    observer.observe(element('#content'));
  }

  /** Put the view back where it was before the content changed. */
  settle() {
    const view = this.#view;
    if (this.pinned) {
      view.scrollTop = view.scrollHeight;
    } else if (this.#anchor?.row.node.isConnected) {
      const moved = topOf(this.#anchor.row) - this.#anchor.top;
      if (Math.abs(moved) >= 0.5) view.scrollTop += moved;
    }
    this.#top = view.scrollTop;
    this.#remember();
  }

  /** Show a row a little below the top. @param {Row | undefined} row */
  show(row) {
    if (!row) return;
    this.pinned = false;
    this.#view.scrollTop += topOf(row) - this.#edge() - this.#view.clientHeight / 4;
    this.#top = this.#view.scrollTop;
    this.#remember();
  }

  forget() {
    this.#anchor = null;
  }

  focus() {
    this.#view.focus({ preventScroll: true });
  }

  /** @param {boolean} can - whether the end of the content is the end of the log */
  set canPin(can) {
    if (can && !this.#canPin && this.#rest() <= 2) this.pinned = true;
    this.#canPin = can;
  }

  get hasFocus() {
    return this.#view.contains(document.activeElement);
  }

  nearStart() {
    return this.#view.scrollTop < 2 * this.#view.clientHeight;
  }

  nearEnd() {
    return this.#rest() < this.#view.clientHeight;
  }

  #rest() {
    return this.#view.scrollHeight - this.#view.scrollTop - this.#view.clientHeight;
  }

  /** @param {Row} row */
  isAbove(row) {
    return row.node.getBoundingClientRect().top < this.#edge();
  }

  /** @param {number} pages */
  page(pages) {
    this.#view.scrollBy({ top: pages * 0.85 * this.#view.clientHeight });
  }

  /** The first row whose text begins within the view. */
  index() {
    const rows = this.#rows();
    const edge = this.#edge();
    let low = 0;
    let high = rows.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (topOf(rows[middle]) < edge) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remember() {
    const row = this.pinned ? null : this.#rows()[this.index()];
    this.#anchor = row ? { row, top: topOf(row) } : null;
  }

  #edge() {
    return this.#view.getBoundingClientRect().top;
  }
}

/** @param {Row} row */
const topOf = ({ body }) => body.getBoundingClientRect().top;
