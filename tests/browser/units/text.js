import { parse } from '../text.js';
import { equal, ok, test } from './check.js';

const kinds = (text) => parse(text).map(({ kind, text }) => [kind, text]);
const links = (text) => parse(text).filter(({ kind }) => kind === 'link');

test('plain text is one token', () => {
  equal(parse('a < b & "c"'), [{ kind: 'text', text: 'a < b & "c"' }]);
  equal(parse(''), []);
});

test('a link is found amid words', () => {
  equal(parse('see https://example.org/a?b=c#d now'), [
    { kind: 'text', text: 'see ' },
    { kind: 'link', text: 'https://example.org/a?b=c#d', href: 'https://example.org/a?b=c#d' },
    { kind: 'text', text: ' now' },
  ]);
});

test('only http and https are links', () => {
  for (const text of ['javascript:alert(1)', 'ftp://example.org', 'data:text/html,x', 'www.example.org',
    'xhttp://example.org', 'mailto:a@example.org', 'java\nscript:x', 'http://', 'https://.', 'http:// x']) {
    equal(links(text), []);
  }
  equal(links('HTTPS://EXAMPLE.ORG')[0].href, 'https://example.org/');
});

test('punctuation of the sentence is not part of a link', () => {
  for (const [text, link] of [
    ['(see https://example.org/a).', 'https://example.org/a'],
    ['https://example.org/a_(b)', 'https://example.org/a_(b)'],
    ['(https://example.org/a_(b))!', 'https://example.org/a_(b)'],
    ['https://example.org/a...', 'https://example.org/a'],
    ['"https://example.org/a"', 'https://example.org/a'],
    ['<https://example.org/a>', 'https://example.org/a'],
    ['https://example.org/a, and', 'https://example.org/a'],
    ['[x](https://example.org/a)', 'https://example.org/a'],
    ['https://example.org/。', 'https://example.org/'],
    ['https://example.org/a/', 'https://example.org/a/'],
  ]) equal(links(text).map(({ text }) => text), [link]);
});

test('a control that reorders text ends a link', () => {
  equal(links('https://example.org/\u202egnp.exe')[0].text, 'https://example.org/');
});

test('several links are found', () => {
  equal(links('http://a.example http://b.example\nhttp://c.example').length, 3);
});

test('code stands between backticks', () => {
  equal(kinds('run `make  test` now'), [['text', 'run '], ['code', 'make  test'], ['text', ' now']]);
});

test('no link is looked for in code', () => {
  equal(kinds('`http://example.org`'), [['code', 'http://example.org']]);
});

test('a block is kept as it was written, without the language', () => {
  equal(kinds('a\n```js\n  if (x) {\n\n  }\n```\nb'),
    [['text', 'a\n'], ['block', '  if (x) {\n\n  }'], ['text', '\nb']]);
  equal(kinds('```one line```'), [['block', 'one line']]);
  equal(kinds('```\na `b` c\n```'), [['block', 'a `b` c']]);
});

test('backticks that enclose nothing are text', () => {
  for (const text of ['`', '``', '```', '``````', 'a ` b', 'a `\n` b', '```\nno end', '` `', "it`s"]) {
    equal(kinds(text), [['text', text]]);
  }
});

test('nothing is lost', () => {
  const parts = ['`', '```', '\n', 'a', ' ', 'http://x.example/', ')', '(', '.', '\ud83d\ude00', '\u202e'];
  for (let seed = 1; seed < 3000; seed++) {
    let state = seed;
    const text = Array.from({ length: 12 }, () => {
      state = (state * 48271) % 0x7fffffff;
      return parts[state % parts.length];
    }).join('');
    const rest = parse(text).filter(({ kind }) => kind === 'text' || kind === 'link');
    let at = 0;
    for (const token of rest) {
      at = text.indexOf(token.text, at);
      ok(at >= 0, `${JSON.stringify(token)} in ${JSON.stringify(text)}`);
      at += token.text.length;
    }
    if (!text.includes('`')) equal(rest.map((token) => token.text).join(''), text);
  }
});

test('16 KiB of anything take little time', () => {
  for (const part of ['`', '``', '```', '``` ', '`\n', '`a', '```a\n', 'http://', 'http://a', 'http://a.b ', '(', ')',
    'https://x.example/)', 'http://x(', 'h', '.', '\u0301', ' ', '\n', '`\n```']) {
    const text = `http://a.example/${part.repeat(16384 / part.length)}`;
    const start = performance.now();
    parse(text);
    parse(part.repeat(16384 / part.length));
    const took = performance.now() - start;
    ok(took < 200, `little time for ${JSON.stringify(part)}, not ${took} ms`);
  }
});
