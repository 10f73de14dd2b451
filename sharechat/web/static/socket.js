/** A member's connection, over as many websockets as that takes. Speaks `sharechat.v1`. */

/** @import {Me, Message, SocketHandlers, State} from './types' */

import { outcomeOfClose } from './outcomes.js';

// Milliseconds.
const SHORTEST = 100;
const FIRST_BOUND = 500;
const LONGEST = 20_000;
/** How long it may take to be welcomed. */
const PATIENCE = 20_000;
/** After so long a connection the next pause is short again. */
const STEADY = 5_000;
/** The server answers within 5 s; after so long the connection is dead. */
const SILENCE = 20_000;
const TICK = 15_000;
/** If no tick came for so long, the machine slept, and the server gave this member up. */
const SLEPT = 90_000;
/** Being turned away counts as so many failures. */
const TURNED_AWAY = 4;

const TYPES = ['chat', 'joined', 'left', 'failed'];

export class RoomSocket {
  /** @type {State} */
  state = { kind: 'connecting' };
  /** @type {WebSocket | null} */
  #socket = null;
  #roomId;
  #handlers;
  #failures = 0;
  /** When the server greeted and when it was last heard, by `performance.now()`. */
  #welcomed = 0;
  #heard = 0;
  /** What was said over this websocket and not answered. @type {Set<string>} */
  #awaited = new Set();
  /** What was said over this websocket and heard. @type {Set<string>} */
  #answered = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Ends what `#watch` began. @type {AbortController | null} */
  #watching = null;

  /** @param {string} roomId @param {SocketHandlers} handlers */
  constructor(roomId, handlers) {
    this.#roomId = roomId;
    this.#handlers = handlers;
  }

  /** Join the room, also again after the end. */
  open() {
    if (this.#watching) return;
    this.#watch((this.#watching = new AbortController()));
    this.#failures = 0;
    this.#connect();
  }

  /** Leave the room. */
  close() {
    this.#watching?.abort();
    this.#watching = null;
    this.#drop();
  }

  /** Try at once if the next try is later, or if this has ended. */
  retryNow() {
    if (this.state.kind === 'waiting' && this.#watching) this.#connect();
    else if (this.state.kind === 'ended') this.open();
  }

  /**
   * Say something, unless it is under way already. Return false if there is no connection.
   *
   * @param {string} id @param {string} text
   */
  say(id, text) {
    if (this.state.kind !== 'connected' || !this.#socket) return false;
    if (this.#awaited.has(id)) return true;
    if (this.#awaited.size === 0) this.#heard = performance.now();
    this.#awaited.add(id);
    this.#socket.send(JSON.stringify({ id, message: text }));
    return true;
  }

  #connect(after = this.#handlers.after()) {
    this.#drop();
    const url = new URL(`/api/serve/${this.#roomId}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    if (after) url.searchParams.set('after', after);
    const socket = (this.#socket = new WebSocket(url, 'sharechat.v1'));
    socket.onmessage = ({ data }) => this.#hear(data, after !== null);
    socket.onclose = ({ code, reason }) => {
      // The server does not know the message to go on from.
      if (code === 4400 && after !== null) this.#connect(null);
      else this.#closed(code, reason);
    };
    this.#timer = setTimeout(() => this.#lose('The server does not answer.'), PATIENCE);
    this.#setState({ kind: 'connecting' });
  }

  /** Let go of the present websocket without waiting: a dead one never closes. */
  #drop() {
    clearTimeout(this.#timer);
    this.#awaited.clear();
    this.#answered.clear();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** @param {unknown} data @param {boolean} resumed */
  #hear(data, resumed) {
    this.#heard = performance.now();
    let frame;
    try {
      frame = JSON.parse(String(data));
    } catch {
      return; // It is not JSON.
    }
    if (frame?.type === 'welcome') {
      clearTimeout(this.#timer);
      this.#welcomed = this.#heard;
      this.#setState({ kind: 'connected' });
      this.#handlers.onWelcome(/** @type {Me} */ (frame), resumed);
    } else if (this.state.kind === 'connected' && TYPES.includes(frame?.type)) {
      this.#take(/** @type {Message} */ (frame));
    }
  }

  /** @param {Message} message */
  #take(message) {
    const { id, type } = message;
    const awaited = this.#awaited.delete(id);
    if (type !== 'failed') {
      // What is said again may come in its place in the log, and then once more as the answer.
      if (this.#answered.has(id)) return;
      if (awaited) this.#answered.add(id);
    }
    this.#handlers.onMessage(message);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    const outcome = outcomeOfClose(code, reason);
    if (outcome.retry) {
      if (code >= 4000) this.#failures = Math.max(this.#failures, TURNED_AWAY);
      this.#lose(outcome.text);
    } else {
      this.close();
      this.#setState({ kind: 'ended', outcome });
    }
  }

  /** Come back after a random time, so that not all come at once. @param {string} reason */
  #lose(reason) {
    const connected = this.state.kind === 'connected';
    if (connected && performance.now() - this.#welcomed >= STEADY) this.#failures = 0;
    this.#drop();
    const bound = Math.min(LONGEST, FIRST_BOUND * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    const pause = Math.max(SHORTEST, Math.random() * bound);
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#setState({ kind: 'waiting', until: performance.now() + pause, reason });
  }

  /** Look after the connection until the end. @param {AbortController} end */
  #watch(end) {
    let last = Date.now();
    const check = () => {
      const now = Date.now(); // unlike performance.now(), it goes on while the machine sleeps
      const slept = now - last > SLEPT;
      const silent = this.#awaited.size && performance.now() - this.#heard > SILENCE;
      last = now;
      if (this.state.kind === 'connected' && (slept || silent)) this.#connect();
    };
    const look = () => {
      if (document.visibilityState !== 'visible') return;
      check();
      this.retryNow();
    };
    // A websocket may have survived, or be dead without a sign: coming back is right for both.
    addEventListener('online', () => this.#connect(), end);
    addEventListener('pageshow', look, end);
    document.addEventListener('visibilitychange', look, end);
    const ticker = setInterval(check, TICK);
    end.signal.onabort = () => clearInterval(ticker);
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.#handlers.onState(state);
  }
}
