// What the servers have in common: the API that the benchmarks use, over rooms in memory. Nothing
// is stored. How members are reached is for each server to say.

const COLOURS = ["Red", "Green", "Blue", "Amber", "Violet", "Ivory", "Teal", "Crimson"];
const NOUNS = ["Seat", "River", "Lamp", "Cloud", "Stone", "Garden", "Window", "Kettle"];

const any = (words) => words[Math.floor(Math.random() * words.length)];

const newName = () => `${any(COLOURS)} ${any(NOUNS)}`;

export const rooms = new Map();

/** Return the status and the JSON of the answer to a REST request. */
export function rest(method, path) {
  const [, api, kind, id, messages] = path.split("/");
  if (method === "POST" && path === "/api/room") {
    const room = { id: crypto.randomUUID(), name: newName(), members: new Map() };
    rooms.set(room.id, room);
    return [200, { roomId: room.id, roomName: room.name }];
  }
  const room = api === "api" && kind === "room" && rooms.get(id);
  if (!room) return [404, {}];
  if (messages) return [200, []];
  return [200, { roomId: id, roomName: room.name, members: [...room.members.values()] }];
}

/** Return the room of a websocket's path, undefined if there is none. */
export function roomOf(path) {
  return path.startsWith("/api/serve/") ? rooms.get(path.slice("/api/serve/".length)) : undefined;
}

export const newMember = () => ({ id: crypto.randomUUID(), name: newName() });

/** Return a message as JSON. */
export function message(room, member, type, text) {
  return JSON.stringify({
    id: crypto.randomUUID(),
    roomId: room.id,
    memberId: member.id,
    memberName: member.name,
    type,
    message: text,
    sent: new Date().toISOString(),
  });
}

export const port = Number(process.argv[process.argv.indexOf("--port") + 1]);
