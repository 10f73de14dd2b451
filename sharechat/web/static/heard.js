/** The newest messages that were heard, without a gap between them. */

/** @import {Message} from './types' */

/** How many are kept, to join what is loaded to what is heard. */
const MOST = 300;

export class Heard {
  /** The last message of the log that was heard. @type {string | null} */
  lastId = null;
  #lastSent = '';
  /** @type {Map<string, Message>} */
  #messages = new Map();

  /** Return whether a message is new. @param {Message} message */
  add(message) {
    const { id, type } = message;
    const sent = message.sent.replace('Z', ''); // as text, "…:07" is before "…:07.5"
    // `sent` never goes back in a log. So what is older answers something that was said again, and
    // stands before all that was heard.
    if (type === 'failed' || this.#messages.has(id) || sent < this.#lastSent) return false;
    this.lastId = id;
    this.#lastSent = sent;
    this.#messages.set(id, message);
    if (this.#messages.size > MOST) {
      this.#messages.delete(/** @type {string} */ (this.#messages.keys().next().value));
    }
    return true;
  }

  /** Return what came after a message; nothing if it was not heard. @param {string} [id] */
  since(id = '') {
    const at = [...this.#messages.keys()].indexOf(id);
    return at < 0 ? [] : [...this.#messages.values()].slice(at + 1);
  }
}
