// Bun, whose websockets and whose topics are uWebSockets, which is written in C++.

import { message, newMember, port, rest, roomOf } from "./chat.js";

const server = Bun.serve({
  port,
  hostname: "127.0.0.1",
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    const room = roomOf(path);
    if (room && server.upgrade(request, { data: { room, member: newMember() } })) return undefined;
    const [status, body] = rest(request.method, path);
    return Response.json(body, { status });
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: 16 << 20,
    idleTimeout: 0,
    open(websocket) {
      const { room, member } = websocket.data;
      room.members.set(member.id, member);
      websocket.subscribe(room.id);
      say(room, member, "joined", `${member.name} joined the room.`);
    },
    message(websocket, text) {
      const { room, member } = websocket.data;
      say(room, member, "chat", text.toString());
    },
    close(websocket) {
      const { room, member } = websocket.data;
      room.members.delete(member.id);
      say(room, member, "left", `${member.name} left the room.`);
    },
  },
});

function say(room, member, type, text) {
  server.publish(room.id, message(room, member, type, text));
}

process.on("SIGINT", () => process.exit(0));
