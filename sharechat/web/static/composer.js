/** The box to write in, and what was written and is not stored yet. */

/** @import {Draft} from './types' */
/** @import {Outbox} from './outbox.js' */

import { element, find, make, makeButton, recall, remember } from './browser.js';
import { appendText, makeBy } from './pieces.js';

// There Enter is the only way to begin a line, and a button to send is near the thumb.
const touch = matchMedia('(hover: none) and (pointer: coarse)');

export class Composer {
  #form = find('#composer', HTMLFormElement);
  #box = find('#box', HTMLTextAreaElement);
  #note = element('#box-note');
  #say;
  #key;

  /**
   * @param {string} roomId
   * @param {{say(text: string): void, scroll(pages: number): void}} handlers - `say` throws a
   *   RangeError with a sentence if the text cannot be sent
   */
  constructor(roomId, { say, scroll }) {
    this.#say = say;
    this.#key = `sharechat:text:${roomId}`;
    this.#box.enterKeyHint = touch.matches ? 'enter' : 'send';
    this.#box.value ||= recall(this.#key);
    this.#resize();
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#box.addEventListener('input', () => {
      this.#note.textContent = '';
      this.#resize();
      remember(this.#key, this.#box.value);
    });
    this.#box.addEventListener('keydown', (event) => {
      const { key, shiftKey, isComposing } = event;
      // While an input method composes a word, Enter is part of that.
      if (key === 'Enter' && !shiftKey && !isComposing && event.keyCode !== 229) {
        if (touch.matches && !event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.#send();
      } else if ((key === 'PageUp' || key === 'PageDown') && !this.#box.value) {
        event.preventDefault();
        scroll(key === 'PageUp' ? -1 : 1);
      }
    });
    // Whoever just starts to write means the box.
    document.addEventListener('keydown', ({ key, ctrlKey, metaKey, altKey, target }) => {
      if ([...key].length !== 1 || key === ' ' || ctrlKey || metaKey || altKey) return;
      if (target === document.body || (target instanceof Element && target.id === 'scroller')) this.focus();
    });
  }

  focus() {
    this.#box.focus();
  }

  /** @param {string} name - as whom one writes */
  set name(name) {
    this.#box.placeholder = `Write as ${name}`;
  }

  /** @param {boolean} hidden */
  set hidden(hidden) {
    this.#form.hidden = hidden;
  }

  #send() {
    const text = this.#box.value;
    this.focus();
    if (!text.trim()) return;
    try {
      this.#say(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#note.textContent = error.message;
      return;
    }
    this.#box.value = '';
    remember(this.#key, '');
    this.#resize();
  }

  #resize() {
    if (CSS.supports('field-sizing', 'content')) return;
    this.#box.style.height = 'auto';
    this.#box.style.height = `${this.#box.scrollHeight + 2}px`;
  }
}

/** Shows the drafts below the log. */
export class DraftsView {
  #list = element('#drafts');
  #outbox;
  /** @type {Map<Draft, HTMLElement>} */
  #rows = new Map();

  /** @param {Outbox} outbox */
  constructor(outbox) {
    this.#outbox = outbox;
  }

  /**
   * @param {string} name - the reader's
   * @param {boolean} follows - whether the log ends with a message of the reader
   */
  draw(name, follows) {
    const { drafts } = this.#outbox;
    if (!drafts.length && !this.#rows.size) return;
    const hadFocus = this.#list.contains(document.activeElement);
    this.#rows = new Map(drafts.map((draft) => [draft, this.#rows.get(draft) ?? this.#make(draft)]));
    const rows = [...this.#rows.values()];
    rows[0]?.querySelector('.by')?.remove();
    if (!follows) rows[0]?.prepend(makeBy({ memberName: name }, true));
    this.#list.replaceChildren(...rows);
    // The button that had the focus has done its work.
    if (hadFocus) element('#box').focus();
  }

  /** @param {Draft} draft */
  #make({ id, text, state, reason }) {
    const row = make('div', `row ${state}`);
    appendText(row, text);
    const failed = state === 'failed';
    const bar = make('div', `state ${state}`, failed ? `Not sent. ${reason ?? ''}` : 'Not sent yet');
    if (failed) {
      bar.append(
        makeButton('Try again', () => this.#outbox.retry(id)),
        makeButton('Discard', () => this.#outbox.discard(id)),
      );
    }
    row.append(bar);
    return row;
  }
}
