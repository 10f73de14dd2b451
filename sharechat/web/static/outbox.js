/** What was written and is not stored in the room yet. */

/** @import {Draft} from './types' */
/** @typedef {{say(id: string, text: string): unknown}} Socket */

import { attempt, keysOf, openStorage, outboxPrefix } from './browser_storage.js';

/** Bytes of UTF-8. */
const MAX_BYTES = 16_384;

/** Milliseconds until what another tab wrote, and has not sent, is sent by this one. */
const TAKE_OVER = 10_000;

/**
 * Each draft has a key of its own in the browser's storage, so no tab writes over what another one
 * has changed. Two tabs may send the same draft: it is stored once, by its id.
 */
export class Outbox {
  /** @type {Map<string, Draft>} */
  #drafts = new Map();
  /** The ids of those that could not be stored in the browser. @type {Set<string>} */
  #unstored = new Set();
  /** @type {Socket | null} */
  #socket = null;
  #prefix;
  #storage;

  /** Called after every change. */
  onChange = () => {};

  /** @param {string} roomId @param {Storage | null} [storage] */
  constructor(roomId, storage = openStorage()) {
    this.#prefix = outboxPrefix(roomId);
    this.#storage = storage;
    addEventListener('storage', (event) => this.#merge(event));
    this.#try((stored) => {
      for (const key of keysOf(stored, this.#prefix)) this.#take(stored.getItem(key));
    });
  }

  /** In the order in which they were written. */
  get drafts() {
    return [...this.#drafts.values()].sort((a, b) => a.order - b.order);
  }

  /** Whether everything would still be there if the tab were closed. */
  get persistent() {
    return !this.#unstored.size;
  }

  /** Those that are to be sent, in order. */
  unsent() {
    return this.drafts.filter(({ state }) => state === 'waiting');
  }

  /** Add a text, for the socket to say. Throws a RangeError for the user. @param {string} text */
  say(text) {
    const size = new TextEncoder().encode(text).length;
    if (size > MAX_BYTES) {
      throw new RangeError(`This has ${size} bytes. The limit is ${MAX_BYTES} bytes.`);
    }
    /** @type {Draft} */
    const draft = {
      id: newId(),
      // The server can never store half a surrogate pair or NUL, and so never acknowledge it.
      text: text.replace(/[\p{Cs}\0]/gu, '\uFFFD'),
      state: 'waiting',
      // The clock may have been set back.
      order: Math.max(Date.now(), (this.drafts.at(-1)?.order ?? 0) + 1),
    };
    this.#set(draft);
    return draft;
  }

  /** Say everything that waits. To be called at each welcome. @param {Socket} socket */
  sendAll(socket) {
    this.#socket = socket;
    for (const { id, text } of this.unsent()) socket.say(id, text);
  }

  /** Remove what was heard from the room. Return it, if it is a draft. @param {string} id */
  acknowledge(id) {
    const draft = this.#drafts.get(id);
    if (draft) this.discard(id);
    return draft;
  }

  /** @param {string} id */
  discard(id) {
    this.#try((storage) => storage.removeItem(this.#prefix + id));
    this.#drafts.delete(id);
    this.#unstored.delete(id);
    // There may be space now for what there was none for.
    for (const other of this.drafts) if (this.#unstored.has(other.id)) this.#store(other);
    this.onChange();
  }

  /** @param {string} id @param {string} reason */
  fail(id, reason) {
    const draft = this.#drafts.get(id);
    const key = this.#prefix + id;
    const kept = attempt(true, (storage) => storage.getItem(key) !== null, this.#storage);
    // What is stored no longer was heard by another tab, whose event is still to come.
    if (draft && (kept || this.#unstored.has(id))) this.#set({ ...draft, state: 'failed', reason });
  }

  /** Have what failed said again, at once if there is a connection. @param {string} id */
  retry(id) {
    const draft = this.#drafts.get(id);
    if (draft) this.#set({ ...draft, state: 'waiting', reason: undefined });
    this.#say(id);
  }

  /** @param {Draft} draft */
  #set(draft) {
    this.#drafts.set(draft.id, draft);
    this.#store(draft);
    this.onChange();
  }

  /** @param {Draft} draft */
  #store(draft) {
    this.#unstored.add(draft.id);
    this.#try((storage) => {
      storage.setItem(this.#prefix + draft.id, JSON.stringify(draft));
      this.#unstored.delete(draft.id);
    });
  }

  /** Take up what another tab has changed. @param {StorageEvent} event */
  #merge({ key, newValue, storageArea }) {
    if (storageArea !== this.#storage || !key?.startsWith(this.#prefix)) return;
    const id = key.slice(this.#prefix.length);
    if (newValue === null) this.#drafts.delete(id);
    else if (this.#drafts.has(id)) this.#take(newValue);
    // The tab where it was written says it, under its name, unless it is closed meanwhile.
    else setTimeout(() => this.#takeOver(id, key), TAKE_OVER);
    this.onChange();
  }

  /** @param {string} id @param {string} key */
  #takeOver(id, key) {
    this.#try((storage) => this.#take(storage.getItem(key)));
    this.#say(id);
    this.onChange();
  }

  /** @param {string} id */
  #say(id) {
    const draft = this.#drafts.get(id);
    if (draft?.state === 'waiting') this.#socket?.say(id, draft.text);
  }

  /** @param {string | null} stored */
  #take(stored) {
    try {
      const draft = JSON.parse(stored ?? '');
      if (draft.id && typeof draft.text === 'string') this.#drafts.set(draft.id, draft);
    } catch {
      // It is not one of ours.
    }
  }

  /** @param {(storage: Storage) => void} use */
  #try(use) {
    attempt(undefined, use, this.#storage);
  }
}

/** Return a UUID. `crypto.randomUUID` is missing where the page comes over plain HTTP. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
