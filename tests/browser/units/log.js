import { ApiError } from '../api.js';
import { Log } from '../log.js';
import { equal, ok, test, until } from './check.js';

/** A room's log on a server in memory, and a Log that looks at it. */
class Room {
  messages = [];
  requests = 0;
  /** What the next requests are answered with instead. */
  errors = [];
  changes = [];
  /** What the document shows, by the changes alone. */
  shown = [];
  /** Called before a request is answered. */
  meanwhile = () => {};

  constructor(count = 0) {
    for (let i = 0; i < count; i++) this.store();
    this.log = new Log('room', { fetchPage: this.#fetch, onChange: (change) => this.#draw(change) });
  }

  store(type = 'chat') {
    const n = this.messages.length;
    const message = {
      id: `m${n}`, roomId: 'room', memberId: 'a', memberName: 'A', type, message: '',
      // Several messages are stored at once and have one time, as in the database.
      sent: new Date(Math.floor(n / 3) * 100).toISOString(),
    };
    this.messages.push(message);
    return message;
  }

  /** Store messages that the page hears. */
  hear(count = 1) {
    for (let i = 0; i < count; i++) this.log.live(this.store());
  }

  async join() {
    this.hear();
    await this.settled();
  }

  settled = () => until(() => !this.log.loading);

  #fetch = async (path, signal) => {
    this.requests++;
    await null;
    const error = this.errors.shift();
    if (error) throw error;
    this.meanwhile();
    if (signal.aborted) throw new DOMException('aborted', 'AbortError');
    const query = new URL(path, 'http://x').searchParams;
    const [limit, before, after] = ['limit', 'before', 'after'].map((name) => query.get(name));
    const at = (id) => this.messages.findIndex((message) => message.id === id);
    if (before && at(before) < 0 || after && at(after) < 0) throw new ApiError(400, 'bad-cursor', 'No such message.');
    const end = before ? at(before) : after ? Math.min(this.messages.length, at(after) + 1 + +limit) : this.messages.length;
    const start = after ? at(after) + 1 : Math.max(0, end - limit);
    const messages = this.messages.slice(start, end);
    // Like the server, nothing is beside an empty page.
    return {
      messages,
      prev: messages.length && start > 0 ? 'prev' : null,
      next: messages.length && end < this.messages.length ? 'next' : null,
    };
  };

  #draw(change) {
    this.changes.push(change);
    if (change.kind === 'append') this.shown.push(...change.messages);
    else if (change.kind === 'prepend') this.shown.unshift(...change.messages);
    else if (change.kind === 'reset') this.shown = [...change.messages];
    else if (change.kind === 'drop-first') this.shown.splice(0, change.count);
    else if (change.kind === 'drop-last') this.shown.splice(this.shown.length - change.count);
    this.check();
  }

  /** The window is a part of the log without a gap, and what is shown. */
  check() {
    const ids = this.shown.map(({ id }) => id);
    equal(ids, this.log.window.map(({ id }) => id));
    const from = ids.length ? this.messages.findIndex(({ id }) => id === ids[0]) : 0;
    equal(ids, this.messages.slice(from, from + ids.length).map(({ id }) => id));
  }
}

test('history is loaded once one has joined', async () => {
  const room = new Room(250);
  await room.join();
  equal([room.log.window.length, room.log.atStart, room.log.atEnd, room.log.lastId], [101, false, true, 'm250']);
  await room.log.loadOlder();
  await room.log.loadOlder();
  equal([room.log.window.length, room.log.atStart, room.requests], [251, true, 3]);
  await room.log.loadOlder();
  equal(room.requests, 3);
});

test('the first member of a room is at its start', async () => {
  const room = new Room();
  await room.join();
  equal([room.log.window.length, room.log.atStart], [1, true]);
});

test('what is heard is appended, each message once', async () => {
  const room = new Room(5);
  await room.join();
  room.hear(3);
  equal(room.log.live(room.messages[8]), false);
  equal(room.log.live(room.messages[7]), false);
  equal([room.log.window.length, room.log.lastId], [9, 'm8']);
});

test('an answer from before one joined is neither shown nor gone on from', async () => {
  const room = new Room(50);
  await room.join();
  equal(room.log.live(room.messages[3]), false);
  equal([room.log.window.length, room.log.lastId], [51, 'm50']);
});

test('an answer that comes before the history does not appear twice', async () => {
  const room = new Room(51);
  room.hear(); // m51 was stored with m52 and m53, at one time
  const { shown, log } = room;
  room.check = () => {}; // The answer may stand at the wrong side of one's own joined.
  log.live(room.messages[50]);
  await room.settled();
  const ids = shown.map(({ id }) => id);
  equal(new Set(ids).size, ids.length);
});

test('failed is no part of the log', async () => {
  const room = new Room();
  await room.join();
  equal(room.log.live({ ...room.messages[0], id: 'x', type: 'failed' }), false);
  equal(room.log.lastId, 'm0');
});

test('times with and without a fraction are compared as times', () => {
  const log = new Log('room', { fetchPage: async () => ({ messages: [], prev: null, next: null }), onChange() {} });
  const message = { roomId: 'room', memberId: 'a', memberName: 'A', type: 'chat', message: '' };
  equal(log.live({ ...message, id: 'a', sent: '2026-01-01T00:00:07Z' }), true);
  equal(log.live({ ...message, id: 'b', sent: '2026-01-01T00:00:07.500000Z' }), true);
  equal(log.live({ ...message, id: 'c', sent: '2026-01-01T00:00:07Z' }), false);
  equal(log.live({ ...message, id: 'd', sent: '2026-01-01T00:00:08Z' }), true);
});

test('what is far away is dropped and loaded again, in both directions', async () => {
  const room = new Room(1000);
  await room.join();
  const { log } = room;
  while (!log.atStart) {
    await log.loadOlder();
    log.trimNewer(300);
  }
  equal([log.window[0].id, log.window.length, log.atEnd], ['m0', 300, false]);
  while (!log.atEnd) {
    await log.loadNewer();
    log.trimOlder(300);
  }
  equal([log.window.at(-1).id, log.window.length, log.atStart], ['m1000', 300, false]);
  room.hear();
  equal(log.window.at(-1).id, 'm1001');
});

test('while one reads what is old, what is heard does not come into the window', async () => {
  const room = new Room(500);
  await room.join();
  const { log } = room;
  await log.loadOlder();
  log.trimNewer(50);
  equal(log.live(room.store()), true);
  equal([log.window.length, log.lastId], [50, 'm501']);
  await log.jumpToEnd();
  equal([log.window.length, log.window.at(-1).id, log.atEnd], [100, 'm501', true]);
});

test('nothing is missed that comes while the end is loaded', async () => {
  for (const load of ['loadNewer', 'jumpToEnd']) {
    for (const before of [true, false]) {
      const room = new Room(150);
      await room.join();
      room.log.trimNewer(50);
      // The page has it, or it comes after the page was made.
      if (before) room.meanwhile = () => room.hear(7);
      else queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => room.hear(7))));
      while (!room.log.atEnd) await room.log[load]();
      room.meanwhile = () => {};
      room.hear();
      equal(room.log.window.at(-1).id, room.messages.at(-1).id);
    }
  }
});

test('a page that is newer than what was heard is joined to it', async () => {
  const room = new Room(150);
  await room.join();
  const { log } = room;
  log.trimNewer(50);
  const late = [room.store(), room.store()]; // stored, and heard only later
  await log.loadNewer();
  equal([log.window.at(-1).id, log.atEnd], ['m152', true]);
  equal(late.map((message) => log.live(message)), [false, false]);
  room.hear();
  equal([log.window.at(-1).id, log.lastId], ['m153', 'm153']);
});

test('more than is kept may be heard while the end is loaded', async () => {
  const room = new Room(150);
  await room.join();
  const { log } = room;
  log.trimNewer(50);
  room.meanwhile = () => {
    room.meanwhile = () => {};
    const page = room.messages.length;
    room.hear(700);
    ok(page < room.messages.length);
  };
  for (let i = 0; i < 20 && !log.atEnd; i++) await log.loadNewer();
  equal([log.atEnd, log.window.at(-1).id], [true, 'm850']);
});

test('one can jump to a message, and is told if there is none', async () => {
  const room = new Room(1000);
  await room.join();
  const { log } = room;
  equal(await log.jumpTo('m500'), true);
  equal([log.window[0].id, log.window.at(-1).id, log.atStart, log.atEnd], ['m401', 'm600', false, false]);
  equal(await log.jumpTo('nothing'), false);
  equal([log.window.length, log.loading], [200, false]);
  equal(await log.jumpTo('m10'), true);
  equal([log.window[0].id, log.atStart], ['m0', true]);
  equal(await log.jumpTo('m1000'), true);
  equal(log.atEnd, true);
  room.hear();
  equal(log.window.at(-1).id, 'm1001');
});

test('what is loaded is not used if the window has moved meanwhile', async () => {
  const room = new Room(1000);
  await room.join();
  const { log } = room;
  await log.loadOlder();
  room.meanwhile = () => log.trimOlder(50);
  await log.loadOlder();
  room.meanwhile = () => {};
  equal(log.window.length, 50);
  const slow = log.loadOlder();
  const jump = log.jumpTo('m100');
  await Promise.all([slow, jump]);
  ok(log.window.some(({ id }) => id === 'm100') && !log.loading);
});

test('a window that nobody trims is bounded', async () => {
  const room = new Room();
  await room.join();
  room.hear(5000);
  ok(room.log.window.length <= 2000 && !room.log.atEnd);
  await room.log.jumpToEnd();
  equal(room.log.window.at(-1).id, 'm5000');
});

test('what fails for now is tried again, and says why', async () => {
  const room = new Room(10);
  room.errors = [new ApiError(0, null, 'The server cannot be reached.'), new ApiError(404, null, 'A proxy.')];
  room.hear();
  await until(() => room.log.error);
  equal([room.log.error, room.log.loading], ['The server cannot be reached.', true]);
  dispatchEvent(new Event('online')); // does not wait for the pause to end
  await until(() => room.log.error === 'A proxy.');
  dispatchEvent(new Event('online'));
  await room.settled();
  equal([room.log.window.length, room.log.error], [11, null]);
});

test('a room that is gone is not asked again and again', async () => {
  const room = new Room(10);
  room.errors = new Array(9).fill(new ApiError(404, 'room-not-found', 'Gone.'));
  await room.join();
  await room.log.loadOlder();
  await room.log.loadOlder();
  equal([room.requests, room.log.error, room.log.window.length], [1, 'Gone.', 1]);
});

test('trying again ends when it is stopped', async () => {
  const room = new Room(10);
  room.errors = new Array(9).fill(new ApiError(503, 'unavailable', 'Away.'));
  room.hear();
  await until(() => room.log.error);
  room.log.stop();
  dispatchEvent(new Event('online'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  equal([room.requests, room.log.loading, room.log.error], [1, false, null]);
});

test('a log that does not go on begins again', async () => {
  const room = new Room(150);
  await room.join();
  room.log.restart();
  equal([room.shown.length, room.log.lastId], [0, null]);
  room.store();
  await room.join();
  equal([room.log.window.length, room.log.atEnd, room.log.lastId], [101, true, 'm152']);
});
