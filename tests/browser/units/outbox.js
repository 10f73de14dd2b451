import { Outbox } from '../outbox.js';
import { equal, ok, test, throws } from './check.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const texts = (outbox) => outbox.drafts.map(({ text }) => text);

/** A storage that two tabs share; `tell` has a tab hear what the other one has done. */
function shared() {
  const map = new Map();
  const storage = {
    get length() {
      return map.size;
    },
    key: (i) => [...map.keys()][i] ?? null,
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
  return { storage, map };
}

/** Make an outbox as in a tab of its own: it hears only what `tell` tells it. */
function tab(storage) {
  const { addEventListener } = window;
  let hear = () => {};
  window.addEventListener = (_, listener) => (hear = listener);
  const outbox = new Outbox('room', storage);
  window.addEventListener = addEventListener;
  outbox.tell = (key, newValue) => hear({ key, newValue, storageArea: storage });
  return outbox;
}

test('drafts are sent in the order in which they were written', () => {
  const outbox = new Outbox('room');
  for (const text of ['a', 'b', 'c']) outbox.say(text);
  const said = [];
  outbox.sendAll({ say: (id, text) => said.push(text) });
  equal(said, ['a', 'b', 'c']);
});

test('ids are UUIDs, also where the page is no secure context', () => {
  const outbox = new Outbox('room');
  const ids = Array.from({ length: 100 }, () => outbox.say('x').id);
  ok(ids.every((id) => UUID.test(id)), `UUIDs: ${ids[0]}`);
  equal(new Set(ids).size, 100);
});

test('drafts are there after a reload, in order, until they are acknowledged', () => {
  const before = new Outbox('room');
  const [a, b] = ['a', 'b', 'c'].map((text) => before.say(text));
  before.fail(b.id, 'Try again.');
  const after = new Outbox('room');
  equal(after.drafts.map(({ text, state, reason }) => [text, state, reason]),
    [['a', 'waiting', undefined], ['b', 'failed', 'Try again.'], ['c', 'waiting', undefined]]);
  equal(after.acknowledge(a.id).text, 'a');
  equal(after.acknowledge(a.id), undefined);
  equal(texts(new Outbox('room')), ['b', 'c']);
  equal(texts(new Outbox('another room')), []);
});

test('a clock that is set back does not change the order', () => {
  const { now } = Date;
  const outbox = new Outbox('room');
  outbox.say('a');
  Date.now = () => 1000;
  try {
    outbox.say('b');
  } finally {
    Date.now = now;
  }
  outbox.say('c');
  equal(texts(new Outbox('room')), ['a', 'b', 'c']);
});

test('what failed is not sent again by itself', () => {
  const outbox = new Outbox('room');
  const { id } = outbox.say('a');
  outbox.fail(id, 'The room is away.');
  const said = [];
  const socket = { say: (...frame) => said.push(frame) };
  outbox.sendAll(socket);
  equal(said, []);
  outbox.retry(id);
  equal(said, [[id, 'a']]);
  equal([outbox.drafts[0].state, outbox.drafts[0].reason], ['waiting', undefined]);
});

test('what failed may have been stored after all', () => {
  const outbox = new Outbox('room');
  const { id } = outbox.say('a');
  outbox.fail(id, 'Try again.');
  equal(outbox.acknowledge(id).text, 'a');
  outbox.fail(id, 'Try again.');
  equal(outbox.drafts, []);
});

test('a discarded draft is gone', () => {
  const outbox = new Outbox('room');
  outbox.discard(outbox.say('a').id);
  equal([texts(outbox), texts(new Outbox('room'))], [[], []]);
});

test('what can never be stored is replaced', () => {
  equal(new Outbox('room').say('a\ud800b\udc00c\u0000d \ud83d\ude00').text, 'a\ufffdb\ufffdc\ufffdd \ud83d\ude00');
});

test('the limit is one of bytes', async () => {
  const outbox = new Outbox('room');
  outbox.say('x'.repeat(16384));
  outbox.say('\u00e9'.repeat(8192));
  for (const text of ['x'.repeat(16385), '\u00e9'.repeat(8193), '\ud83d\ude00'.repeat(4097)]) {
    const error = await throws(() => outbox.say(text));
    ok(error instanceof RangeError && error.message.includes('The limit is 16384 bytes.'), error.message);
  }
  equal(outbox.drafts.length, 2);
});

test('every change is told', () => {
  const outbox = new Outbox('room');
  let changes = 0;
  outbox.onChange = () => changes++;
  const { id } = outbox.say('a');
  outbox.fail(id, 'x');
  outbox.retry(id);
  outbox.acknowledge(id);
  outbox.acknowledge(id);
  equal(changes, 4);
});

test('two tabs do not write over what the other one has changed', () => {
  const { storage, map } = shared();
  const [one, other] = [tab(storage), tab(storage)];
  const a = one.say('a');
  const b = other.say('b'); // before it has heard of a
  one.acknowledge(a.id); // before it has heard of b
  equal(map.size, 1);
  equal(texts(tab(storage)), ['b']);
  other.fail(b.id, 'x');
  equal(tab(storage).drafts[0].state, 'failed');
});

test('a tab hears what another one has stored, and failed to store', () => {
  const { storage, map } = shared();
  const one = tab(storage);
  const a = one.say('a');
  const key = [...map.keys()][0];
  const other = tab(storage);
  one.fail(a.id, 'x');
  other.tell(key, map.get(key));
  equal(other.drafts[0].state, 'failed');
  one.acknowledge(a.id);
  other.tell(key, null);
  equal(other.drafts, []);
  other.tell('sharechat:outbox:another room:x', JSON.stringify(a));
  other.tell(null, null);
  equal(other.drafts, []);
});

test('a tab takes over what another one has written and left unsent, after a while', () => {
  const { storage, map } = shared();
  const [one, other] = [tab(storage), tab(storage)];
  const said = [];
  other.sendAll({ say: (id, text) => said.push(text) });
  const { setTimeout } = window;
  const later = [];
  window.setTimeout = (call) => later.push(call);
  const a = one.say('a');
  one.say('b');
  for (const [key, value] of map) other.tell(key, value);
  window.setTimeout = setTimeout;
  equal([texts(other), said], [[], []]);
  one.acknowledge(a.id);
  for (const call of later) call();
  equal([texts(other), said], [['b'], ['b']]);
});

test('what another tab has heard already does not come back as failed', () => {
  const { storage, map } = shared();
  const one = tab(storage);
  const { id } = one.say('a');
  const other = tab(storage);
  one.acknowledge(id);
  other.fail(id, 'x'); // before it has heard of that
  equal([map.size, tab(storage).drafts], [0, []]);
});

test('a tab that opens takes over what a closed one has left, after its own order', () => {
  const { storage } = shared();
  const one = tab(storage);
  one.say('a');
  one.say('b');
  const other = tab(storage);
  other.say('c');
  equal(texts(other), ['a', 'b', 'c']);
});
