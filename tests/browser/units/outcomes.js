import { outcomeOfClose } from '../outcomes.js';
import { equal, ok, test } from './check.js';

test('a lost connection is tried again', () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014]) {
    const { text, retry, gone } = outcomeOfClose(code, '');
    ok(text.endsWith('.') && retry && !gone, `${code}: ${text}`);
  }
});

test('a room that is gone is not', () => {
  for (const code of [4404, 4410]) {
    const { retry, gone } = outcomeOfClose(code, '');
    equal([retry, gone], [false, true]);
  }
});

test('a full server says so, and is tried again', () => {
  equal(outcomeOfClose(4450, 'The server is full.'), { text: 'The server is full.', retry: true, gone: false });
});

test('of a code that is not known, the reason is told', () => {
  equal(outcomeOfClose(4499, 'The moon is full.'),
    { text: 'The moon is full.', retry: false, gone: false });
  ok(outcomeOfClose(4499, '').text.includes('4499'));
  ok(outcomeOfClose(4499).text.includes('4499'));
});
