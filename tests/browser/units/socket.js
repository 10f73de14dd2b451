import { RoomSocket } from '../socket.js';
import { equal, ok, test } from './check.js';

/** The websockets that were opened; a test is their server. */
let opened = [];

class FakeWebSocket {
  sent = [];
  closed = false;

  constructor(url, protocol) {
    Object.assign(this, { url: String(url), protocol });
    opened.push(this);
  }

  get after() {
    return new URL(this.url).searchParams.get('after');
  }

  send(frame) {
    this.sent.push(JSON.parse(frame));
  }

  close() {
    this.closed = true;
  }

  hear(frame) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }

  welcome() {
    this.hear({ type: 'welcome', roomId: 'room', roomName: 'R', memberId: 'me', memberName: 'Me' });
  }

  end(code, reason = '') {
    this.onclose?.({ code, reason });
  }
}

const last = () => opened.at(-1);
const chat = (id, type = 'chat') => ({ id, type, roomId: 'room', memberId: 'x', memberName: 'X', message: '', sent: '' });

/** Join a room over fake websockets, with a fake clock and no chance, for the length of `body`. */
async function joined(body) {
  const { WebSocket, setTimeout, setInterval, performance } = window;
  const { random } = Math;
  const { now } = Date;
  opened = [];
  let time = 0;
  let sleeping = 0;
  let timers = [];
  const add = (call, delay, every) => timers.push({ call, at: time + delay, every }) && timers.at(-1);
  const room = {
    states: [], welcomes: [], messages: [], lastId: null,
    /** Let time pass. */
    pass(milliseconds) {
      const end = time + milliseconds;
      for (;;) {
        const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        time = Math.max(time, due.at);
        if (due.every) due.at += due.every;
        else timers = timers.filter((timer) => timer !== due);
        due.call();
      }
      time = end;
    },
    /** Let time pass in which the machine sleeps: no timer runs, and only the date goes on. */
    sleep: (milliseconds) => (sleeping += milliseconds),
    setBack: (milliseconds) => (sleeping -= milliseconds),
  };
  window.WebSocket = FakeWebSocket;
  window.setTimeout = (call, delay) => add(call, delay);
  window.setInterval = (call, delay) => add(call, delay, delay);
  const { clearTimeout, clearInterval } = window;
  window.clearTimeout = window.clearInterval = (timer) => (timers = timers.filter((other) => other !== timer));
  Object.defineProperty(window, 'performance', { configurable: true, value: { now: () => time } });
  Date.now = () => 1e12 + time + sleeping;
  Math.random = () => 1;
  const socket = (room.socket = new RoomSocket('room', {
    after: () => room.lastId,
    onState: (state) => room.states.push(state.kind),
    onWelcome: (me, resumed) => room.welcomes.push([me.memberName, resumed]),
    onMessage: (message) => room.messages.push(message.id),
  }));
  try {
    socket.open();
    await body(room, socket);
  } finally {
    socket.close();
    Object.assign(window, { WebSocket, setTimeout, setInterval, clearTimeout, clearInterval });
    Object.defineProperty(window, 'performance', { configurable: true, value: performance });
    Date.now = now;
    Math.random = random;
  }
}

test('the subprotocol is spoken, and the first connection hears the log from its joined on', () =>
  joined((room, socket) => {
    equal([last().protocol, last().after, new URL(last().url).pathname], ['sharechat.v1', null, '/api/serve/room']);
    equal(socket.say('a', 'A'), false);
    last().welcome();
    last().hear(chat('j', 'joined'));
    equal([room.states, room.welcomes, room.messages], [['connecting', 'connected'], [['Me', false]], ['j']]);
    equal([socket.say('a', 'A'), last().sent], [true, [{ id: 'a', message: 'A' }]]);
  }));

test('after a lost connection one comes back with the last message', () =>
  joined((room) => {
    last().welcome();
    room.lastId = 'm7';
    last().end(1006);
    equal(room.socket.state, { kind: 'waiting', until: 500, reason: 'The connection was lost.' });
    equal(opened.length, 1);
    room.pass(500);
    equal([opened.length, last().after], [2, 'm7']);
    last().welcome();
    equal(room.welcomes.at(-1), ['Me', true]);
  }));

test('pauses grow to 20 s, and are short again after a steady connection', () =>
  joined((room) => {
    const pauses = [];
    for (let i = 0; i < 9; i++) {
      const start = performance.now();
      last().end(1006);
      pauses.push(room.socket.state.until - start);
      room.pass(20_000);
    }
    equal(pauses, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000]);
    last().welcome();
    room.pass(1000);
    last().end(1006);
    equal(room.socket.state.until - performance.now(), 20000);
    room.pass(20_000);
    last().welcome();
    room.pass(5000);
    last().end(1006);
    equal(room.socket.state.until - performance.now(), 500);
  }));

test('no pause is shorter than 0.1 s', () =>
  joined((room) => {
    Math.random = () => 0;
    last().end(1006);
    equal(room.socket.state.until, 100);
  }));

test('a server that is full is not asked at once', () =>
  joined((room) => {
    last().end(4450, 'The server is full.');
    equal(room.socket.state, { kind: 'waiting', until: 8000, reason: 'The server is full.' });
  }));

test('an end is the end, until one tries again', () =>
  joined((room, socket) => {
    last().welcome();
    last().end(4410, 'The room has been deleted.');
    equal(socket.state, { kind: 'ended', outcome: { text: 'The room has been deleted.', retry: false, gone: true } });
    dispatchEvent(new Event('online'));
    document.dispatchEvent(new Event('visibilitychange'));
    room.pass(100_000);
    equal([opened.length, socket.say('a', 'A')], [1, false]);
    socket.retryNow();
    equal([opened.length, socket.state.kind], [2, 'connecting']);
  }));

test('a server that does not know the last message is joined without it, at once and once', () =>
  joined((room) => {
    last().welcome();
    room.lastId = 'unknown';
    last().end(1006);
    room.pass(500);
    last().end(4400, 'No such message.');
    equal([opened.length, last().after, room.socket.state.kind], [3, null, 'connecting']);
    last().end(4400, 'No such message.');
    equal([opened.length, room.socket.state.kind], [3, 'waiting']);
    room.pass(20_000);
    equal(last().after, 'unknown');
    last().end(4400);
    last().welcome();
    equal(room.welcomes.at(-1), ['Me', false]);
  }));

test('a server that does not answer is given up after 20 s', () =>
  joined((room) => {
    room.pass(19_999);
    equal([opened.length, room.socket.state.kind], [1, 'connecting']);
    room.pass(1);
    equal([last().closed, room.socket.state.kind], [true, 'waiting']);
    const old = last();
    room.pass(500);
    old.welcome();
    old.end(4410);
    equal([opened.length, room.socket.state.kind], [2, 'connecting']);
  }));

test('one comes back at once on having a network, being looked at, or asking for it', () =>
  joined((room, socket) => {
    const wakes = [
      () => dispatchEvent(new Event('online')),
      () => document.dispatchEvent(new Event('visibilitychange')),
      () => socket.retryNow(),
    ];
    for (const wake of wakes) {
      for (let i = 0; i < 3; i++) {
        last().end(1006);
        room.pass(20_000);
      }
      last().end(1006);
      const count = opened.length;
      wake();
      equal([opened.length, socket.state.kind], [count + 1, 'connecting']);
      room.pass(19_000);
      equal(opened.length, count + 1);
    }
  }));

test('a network that came back may have left a dead connection', () =>
  joined((room) => {
    last().welcome();
    room.lastId = 'm1';
    dispatchEvent(new Event('online'));
    equal([opened[0].closed, opened.length, last().after], [true, 2, 'm1']);
  }));

test('a connection that is looked at again is left alone', () =>
  joined((room) => {
    last().welcome();
    document.dispatchEvent(new Event('visibilitychange'));
    room.socket.retryNow();
    room.pass(1_000_000);
    equal(opened.length, 1);
  }));

test('a machine that slept comes back at once', () =>
  joined((room) => {
    last().welcome();
    room.sleep(100_000);
    document.dispatchEvent(new Event('visibilitychange'));
    equal([opened[0].closed, opened.length], [true, 2]);
  }));

test('a clock that is set back does no harm', () =>
  joined((room) => {
    last().welcome();
    room.setBack(3_600_000);
    room.pass(60_000);
    equal(opened.length, 1);
    last().end(1006);
    room.setBack(3_600_000);
    room.pass(500);
    equal(opened.length, 2);
  }));

test('a server that says nothing to what is said is left', () =>
  joined((room, socket) => {
    last().welcome();
    room.pass(1_000_000);
    equal(opened.length, 1); // A quiet room is no dead connection.
    socket.say('a', 'A');
    room.pass(15_000);
    equal(opened.length, 1);
    room.pass(30_000);
    equal(opened.length, 2);
  }));

test('what is under way is not sent twice over one connection, but again over the next', () =>
  joined((room, socket) => {
    last().welcome();
    socket.say('a', 'A');
    equal([socket.say('a', 'A'), last().sent.length], [true, 1]);
    last().hear(chat('a', 'failed'));
    socket.say('a', 'A');
    equal([room.messages, last().sent.length], [['a'], 2]);
    last().end(1006);
    room.pass(500);
    last().welcome();
    socket.say('a', 'A');
    equal(last().sent, [{ id: 'a', message: 'A' }]);
  }));

test('what is said again is heard once', () =>
  joined((room, socket) => {
    last().welcome();
    socket.say('a', 'A');
    last().hear(chat('a'));
    last().hear(chat('b'));
    last().hear(chat('a'));
    equal(room.messages, ['a', 'b']);
  }));

test('frames that cannot be read are ignored', () =>
  joined((room) => {
    last().hear(chat('too early'));
    last().welcome();
    for (const frame of ['{', 'null', '7', '"x"', '{}', '[]', '{"type": "future"}']) last().hear(frame);
    equal([room.messages, room.socket.state.kind], [[], 'connected']);
  }));

test('who has left does not come back', () =>
  joined(async (room, socket) => {
    last().welcome();
    socket.close();
    ok(last().closed);
    last().end(1006);
    dispatchEvent(new Event('online'));
    room.pass(1_000_000);
    equal([opened.length, socket.say('a', 'A')], [1, false]);
  }));
