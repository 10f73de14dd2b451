/** What this browser remembers, unless that is forbidden, or there is no space. */

/** @import {VisitedRoom} from './types' */

const ROOMS = 'sharechat:rooms';
const MAX_ROOMS = 50;

/** @param {string} roomId */
const readKey = (roomId) => `sharechat:read:${roomId}`;

/** Return how the keys of a room's drafts begin. @param {string} roomId */
export const outboxPrefix = (roomId) => `sharechat:outbox:${roomId}:`;

/** Return null if the browser forbids it. */
export const openStorage = () => attempt(null, (storage) => storage, undefined);

/**
 * Call `use`; return `otherwise` if the browser does not allow that.
 *
 * @template T
 * @param {T} otherwise
 * @param {(storage: Storage) => T} use
 * @param {Storage | null} [storage]
 * @returns {T}
 */
export function attempt(otherwise, use, storage) {
  try {
    const open = storage === undefined ? localStorage : storage;
    return open ? use(open) : otherwise;
  } catch {
    return otherwise;
  }
}

/** The rooms that this browser has been in, the latest first. @returns {VisitedRoom[]} */
export function rooms() {
  return attempt([], (storage) => {
    /** @type {VisitedRoom[]} */
    const list = JSON.parse(storage.getItem(ROOMS) ?? '[]');
    return list.filter((room) => typeof room?.id === 'string');
  });
}

/** Put a room at the top of the list. @param {{id: string, name: string, key?: string}} room */
export function visit(room) {
  const others = rooms().filter(({ id }) => id !== room.id);
  const known = rooms().find(({ id }) => id === room.id);
  // The order is the list's, so a clock that was set back does not disturb it.
  const list = [{ ...known, ...room, visited: Date.now() }, ...others];
  for (const { id } of list.splice(MAX_ROOMS)) clear(id);
  return write(ROOMS, JSON.stringify(list));
}

/** Return what deletes a room, if this browser made it. @param {string} roomId */
export const keyOf = (roomId) => rooms().find(({ id }) => id === roomId)?.key ?? null;

/** Return the id of the last message that was read. @param {string} roomId */
export const lastRead = (roomId) => attempt(null, (storage) => storage.getItem(readKey(roomId)));

/** @param {string} roomId @param {string} messageId */
export const saveLastRead = (roomId, messageId) => write(readKey(roomId), messageId);

/** Remove everything of a room, also what has not been sent yet. @param {string} roomId */
export function forget(roomId) {
  clear(roomId);
  return write(ROOMS, JSON.stringify(rooms().filter(({ id }) => id !== roomId)));
}

/** @param {string} roomId */
function clear(roomId) {
  attempt(undefined, (storage) => {
    storage.removeItem(readKey(roomId));
    for (const key of keysOf(storage, outboxPrefix(roomId))) storage.removeItem(key);
  });
}

/** @param {Storage} storage @param {string} prefix */
export function keysOf(storage, prefix) {
  const all = Array.from({ length: storage.length }, (_, i) => storage.key(i) ?? '');
  return all.filter((key) => key.startsWith(prefix));
}

/** Return whether it could be stored. @param {string} key @param {string} value */
function write(key, value) {
  return attempt(false, (storage) => {
    storage.setItem(key, value);
    return true;
  });
}
