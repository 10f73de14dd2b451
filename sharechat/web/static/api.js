/** The server's REST endpoints, and addresses of rooms. */

/** @import {NewRoom, Page, Room} from './types' */
/** @typedef {(query: string) => Promise<Page>} Fetch */

const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])';
const ROOM_PATH = new RegExp(`^/room/(${UUID})/?$`, 'i');
const ROOM_LINK = new RegExp(`/(?:room|serve)/(${UUID})`, 'i');
const ANY_ID = new RegExp(`(?<![0-9a-f-])(${UUID})`, 'i');

// Milliseconds.
const TIMEOUT = 30_000;
const LONGEST_PAUSE = 20_000;

/** A request failed; `message` is a sentence for a person. */
export class ApiError extends Error {
  /**
   * @param {number} status - 0 if there was no answer, or none that can be read
   * @param {string | null} slug - the end of the problem's type
   * @param {string} sentence
   */
  constructor(status, slug, sentence) {
    super(sentence);
    this.status = status;
    this.slug = slug;
    /** Whether the room does not exist, or not any more. */
    this.gone = slug === 'room-not-found';
    // A 404 that is not of this server is of a proxy that does not find it just now.
    this.retry =
      !status || status >= 500 || [408, 425, 429].includes(status) || (status === 404 && !slug);
  }
}

/** @returns {Promise<NewRoom>} */
export async function createRoom() {
  const { headers, body } = await request('/api/room', { method: 'POST' });
  const key = headers.get('Sharechat-Room-Key');
  if (!key || !body.roomId) throw notSharechat();
  return { ...body, key };
}

/** @param {string} roomId @param {AbortSignal} [signal] @returns {Promise<Room>} */
export async function getRoom(roomId, signal) {
  const { body } = await request(`/api/room/${roomId}`, { signal });
  if (!Array.isArray(body.members)) throw notSharechat();
  return body;
}

/** @param {string} path - with a query @param {AbortSignal} [signal] @returns {Promise<Page>} */
export async function getMessages(path, signal) {
  const { headers, body } = await request(path, { signal });
  if (!Array.isArray(body)) throw notSharechat();
  return { messages: body, ...links(headers.get('Link')) };
}

/** Fetch what is around a message. @param {Fetch} fetch @param {string} id */
export async function around(fetch, id) {
  const newer = await fetch(`&after=${id}`);
  // If nothing comes after it, it is in the last page.
  const older = await fetch(newer.messages[0] ? `&before=${newer.messages[0].id}` : '');
  return { ...newer, messages: [...older.messages, ...newer.messages], prev: older.prev };
}

/** @param {string} roomId @param {string} key */
export async function deleteRoom(roomId, key) {
  const headers = { Authorization: `Bearer ${key}` };
  await request(`/api/room/${roomId}`, { method: 'DELETE', headers });
}

/** Return the id, if this is the path of a room's page. @param {string} path */
export const roomOfPath = (path) => ROOM_PATH.exec(path)?.[1].toLowerCase() ?? null;

/** Return the id in a link in any form that people copy, amid other words. @param {string} text */
export function roomOfText(text) {
  return (ROOM_LINK.exec(text) ?? ANY_ID.exec(text))?.[1].toLowerCase() ?? null;
}

/** Return what a Link header (RFC 8288) has beside a page. @param {string | null} header */
export function links(header) {
  const path = (/** @type {string} */ rel) =>
    new RegExp(`<([^>]*)>\\s*;\\s*rel="?${rel}\\b`).exec(header ?? '')?.[1] ?? null;
  return { prev: path('prev'), next: path('next') };
}

/**
 * Load something, as long as trying again makes sense; return null if that was in vain.
 *
 * @template T
 * @param {() => Promise<T>} load
 * @param {AbortSignal} signal
 * @param {(reason: string) => void} onError - called after each attempt that failed
 */
export async function persist(load, signal, onError) {
  for (let bound = 1_000; !signal.aborted; bound = Math.min(2 * bound, LONGEST_PAUSE)) {
    try {
      const loaded = await load();
      return signal.aborted ? null : loaded;
    } catch (error) {
      if (signal.aborted) break;
      onError(error instanceof Error ? error.message : '');
      if (!(error instanceof ApiError && error.retry)) break;
    }
    await pause(bound * (0.5 + Math.random() / 2), signal);
  }
  return null;
}

/** Wait; less if a network comes back. @param {number} milliseconds @param {AbortSignal} signal */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', resolve);
    addEventListener('online', resolve, { signal, once: true });
  });
}

/** @param {string} path @param {RequestInit} options */
async function request(path, options) {
  const signals = [AbortSignal.timeout(TIMEOUT)];
  if (options.signal) signals.push(options.signal);
  try {
    const signal = AbortSignal.any(signals);
    const response = await fetch(path, { ...options, cache: 'no-store', signal });
    const text = await response.text();
    if (!response.ok) throw refused(response.status, text);
    return { headers: response.headers, body: text ? Object(JSON.parse(text)) : {} };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (error instanceof SyntaxError) throw notSharechat();
    throw new ApiError(0, null, 'The server cannot be reached.');
  }
}

/** @param {number} status @param {string} text */
function refused(status, text) {
  let slug = null;
  let detail;
  try {
    const problem = JSON.parse(text);
    slug = /^tag:sharechat\.dev,\d+:([a-z-]+)$/.exec(problem.type)?.[1] ?? null;
    detail = problem.detail;
  } catch {
    // It is a proxy's page.
  }
  return new ApiError(status, slug, detail || `The server answered with ${status}.`);
}

// Such as the sign-in page of a wireless network, with 200.
const notSharechat = () => new ApiError(0, null, 'Something else answered instead of the server.');
