import { forget, keyOf, lastRead, rooms, saveLastRead, visit } from '../browser_storage.js';
import { Outbox } from '../outbox.js';
import { equal, test } from './check.js';

/** Have every write fail, as if the browser had no space left. */
async function full(body) {
  const { setItem } = Storage.prototype;
  Storage.prototype.setItem = () => {
    throw new DOMException('full', 'QuotaExceededError');
  };
  try {
    await body();
  } finally {
    Storage.prototype.setItem = setItem;
  }
}

/** Have the browser forbid that anything be stored or read. */
async function forbidden(body) {
  const before = Object.getOwnPropertyDescriptor(window, 'localStorage');
  Object.defineProperty(window, 'localStorage', {
    configurable: true,
    get: () => {
      throw new DOMException('forbidden', 'SecurityError');
    },
  });
  try {
    await body();
  } finally {
    Object.defineProperty(window, 'localStorage', before);
  }
}

const ids = () => rooms().map(({ id }) => id);

test('rooms are listed, the latest first, each once', () => {
  visit({ id: 'a', name: 'A' });
  visit({ id: 'b', name: 'B' });
  visit({ id: 'a', name: 'A2' });
  equal(rooms().map(({ id, name }) => [id, name]), [['a', 'A2'], ['b', 'B']]);
});

test('a clock that is set back does not disturb the order', () => {
  const { now } = Date;
  visit({ id: 'a', name: 'A' });
  Date.now = () => 1000;
  try {
    visit({ id: 'b', name: 'B' });
  } finally {
    Date.now = now;
  }
  equal(ids(), ['b', 'a']);
});

test('the key of a room stays, however often it is visited', () => {
  visit({ id: 'a', name: 'A', key: 'secret' });
  visit({ id: 'a', name: 'A' });
  equal([keyOf('a'), keyOf('b')], ['secret', null]);
});

test('fifty rooms are kept, and nothing of the others', () => {
  saveLastRead('room 0', 'x');
  for (let i = 0; i < 60; i++) visit({ id: `room ${i}`, name: '' });
  equal([rooms().length, ids()[0], lastRead('room 0')], [50, 'room 59', null]);
});

test('forgetting a room removes everything of it, also what is unsent, and nothing else', () => {
  for (const id of ['room-a', 'room-b']) {
    visit({ id, name: '', key: 'k' });
    saveLastRead(id, 'm');
    new Outbox(id).say('unsent');
  }
  equal(forget('room-a'), true);
  equal(Object.entries(localStorage).filter((entry) => entry.join().includes('room-a')), []);
  equal([ids(), keyOf('room-a'), lastRead('room-a')], [['room-b'], null, null]);
  equal([new Outbox('room-a').drafts.length, new Outbox('room-b').drafts.length], [0, 1]);
  equal(lastRead('room-b'), 'm');
});

test('without space nothing is remembered, and nothing breaks', async () => {
  visit({ id: 'a', name: 'A' });
  await full(() => {
    equal([visit({ id: 'b', name: '' }), saveLastRead('a', 'm'), forget('a')], [false, false, false]);
    equal(ids(), ['a']);
  });
});

test('where storing is forbidden nothing is remembered, and nothing breaks', async () => {
  await forbidden(() => {
    equal([visit({ id: 'b', name: '' }), saveLastRead('a', 'm'), forget('a')], [false, false, false]);
    equal([rooms(), lastRead('a'), keyOf('a')], [[], null, null]);
    const outbox = new Outbox('a');
    outbox.say('hello');
    equal([outbox.persistent, outbox.unsent().length], [false, 1]);
    outbox.acknowledge(outbox.drafts[0].id);
    equal([outbox.persistent, outbox.drafts], [true, []]);
  });
});

test('what cannot be stored is kept until there is space', async () => {
  const outbox = new Outbox('a');
  await full(() => {
    outbox.say('one');
    equal(outbox.persistent, false);
  });
  const two = outbox.say('two');
  equal(outbox.persistent, false);
  outbox.acknowledge(two.id);
  equal([outbox.persistent, new Outbox('a').drafts.map(({ text }) => text)], [true, ['one']]);
});

test('what others have written into the storage does no harm', () => {
  for (const junk of ['{', 'null', '7', '{"a": 1}', '[null, 7, {}]']) {
    localStorage.setItem('sharechat:rooms', junk);
    localStorage.setItem('sharechat:outbox:a:x', junk);
    equal([rooms(), new Outbox('a').drafts], [[], []]);
  }
});
