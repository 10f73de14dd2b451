import { ApiError, getMessages, links, roomOfPath, roomOfText } from '../api.js';
import { equal, test, throws } from './check.js';

const ID = '0b3f8a3e-93a8-4c69-8d9b-6f1f2b0f8a11';
const OTHER = 'ffffffff-93a8-4c69-8d9b-6f1f2b0f8a11';

test('a room is found in whatever people copy', () => {
  for (const text of [
    ID, ` ${ID}\n`, ID.toUpperCase(), `https://chat.example/room/${ID}`, `chat.example/room/${ID}`,
    `http://chat.example:8080/room/${ID}/`, `https://chat.example/room/${ID}?x=${OTHER}#${OTHER}`,
    `wss://chat.example/api/serve/${ID}`, `ws://chat.example/api/serve/${ID}?after=${OTHER}`,
    `https://chat.example/api/room/${ID}/messages?before=${OTHER}`, `<https://chat.example/room/${ID}>`,
    `"https://chat.example/room/${ID}"`, `Is this it? https://chat.example/room/${ID}.`,
    `https://chat.example/${OTHER}/room/${ID}`, `websocat ws://127.0.0.1:8080/api/serve/${ID}`,
  ]) equal([text, roomOfText(text)], [text, ID]);
});

test('no room is found where there is none', () => {
  for (const text of ['', 'hello', 'https://chat.example/', ID.slice(1), `${ID}0`, `0${ID}`, ID.replaceAll('-', '')]) {
    equal([text, roomOfText(text)], [text, null]);
  }
});

test('only the path of a room is one', () => {
  equal(roomOfPath(`/room/${ID.toUpperCase()}`), ID);
  equal(roomOfPath(`/room/${ID}/`), ID);
  for (const path of ['/', '/room/', '/room/x', `/room/${ID}/x`, `/api/room/${ID}`]) equal(roomOfPath(path), null);
});

test('the Link header has the neighbours of a page', () => {
  equal(links('</a?before=1&limit=2>; rel="prev", </a?after=3&limit=2>; rel="next"'),
    { prev: '/a?before=1&limit=2', next: '/a?after=3&limit=2' });
  equal(links('</a>; rel=next'), { prev: null, next: '/a' });
  equal(links('</a>; rel="nextish", </b>; rel="self"'), { prev: null, next: null });
  equal(links(null), { prev: null, next: null });
});

/** Have one request answered as a server or a proxy might. */
async function answered(status, body) {
  const { fetch } = window;
  window.fetch = async () => {
    if (body instanceof Error) throw body;
    return new Response(body, { status });
  };
  try {
    return await throws(() => getMessages('/x'));
  } finally {
    window.fetch = fetch;
  }
}

const problem = (slug) => JSON.stringify({ type: `tag:sharechat.dev,2026:${slug}`, detail: 'Such.' });

test('only the server itself can say that a room is gone', async () => {
  const gone = await answered(404, problem('room-not-found'));
  equal([gone.gone, gone.retry, gone.status], [true, false, 404]);
  for (const body of ['<h1>Not Found</h1>', '', '{}', 'null', problem('other'),
    JSON.stringify({ type: 'about:blank', status: 404 }), JSON.stringify({ type: 'x:room-not-found' })]) {
    equal([body, (await answered(404, body)).gone], [body, false]);
  }
  equal((await answered(404, '<h1>Not Found</h1>')).retry, true);
});

test('what may be otherwise in a moment is worth another try', async () => {
  for (const status of [408, 425, 429, 500, 502, 503, 504]) equal((await answered(status, 'x')).retry, true);
  for (const status of [400, 401, 403, 405, 413]) equal((await answered(status, 'x')).retry, false);
  const lost = await answered(0, new TypeError('Failed to fetch'));
  equal([lost instanceof ApiError, lost.status, lost.retry], [true, 0, true]);
});

test('an answer that is not the server\'s is no answer', async () => {
  for (const body of ['<h1>Sign in</h1>', '[{"id": ', '{}', '']) {
    const error = await answered(200, body);
    equal([body, error.status, error.retry, error.gone], [body, 0, true, false]);
  }
});
