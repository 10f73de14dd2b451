import { hueOf, safeName } from '../names.js';
import { equal, ok, test } from './check.js';

test('a name has the same hue every time', () => {
  equal(hueOf('Teal Heron'), hueOf('Teal Heron'));
});

test('hues are degrees, and spread over the circle', () => {
  const sectors = new Array(12).fill(0);
  for (let i = 0; i < 1200; i++) {
    const hue = hueOf(`Member ${i}`);
    ok(Number.isInteger(hue) && hue >= 0 && hue < 360, `a hue, ${hue}`);
    sectors[Math.floor(hue / 30)]++;
  }
  ok(Math.min(...sectors) > 60, `even sectors: ${sectors}`);
});

test('a name is one line of bounded length without controls', () => {
  equal(safeName('Teal Heron'), 'Teal Heron');
  equal(safeName('a\u202eb\nc\u0000\u2028d'), 'a b c d');
  equal(safeName(`e${'\u0301'.repeat(500)}`), 'e\u0301\u0301');
  equal(safeName('x'.repeat(500)).length, 60);
  for (const nothing of ['', ' ', null, undefined, '\u200b']) equal(safeName(nothing), 'Somebody');
});
