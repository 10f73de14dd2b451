// Node's usual websocket server, the package `ws`, which is written in JavaScript.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { message, newMember, port, rest, roomOf } from "./chat.js";

const server = createServer((request, response) => {
  const [status, body] = rest(request.method, request.url);
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

function say(room, text) {
  // As a Buffer it is encoded once, and not for each member.
  const data = Buffer.from(text);
  for (const socket of room.members.keys()) socket.send(data, { binary: false });
}

server.on("upgrade", (request, socket, head) => {
  const room = roomOf(request.url);
  if (!room) {
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (websocket) => {
    const member = newMember();
    room.members.set(websocket, member);
    say(room, message(room, member, "joined", `${member.name} joined the room.`));
    websocket.on("message", (data) => say(room, message(room, member, "chat", data.toString())));
    websocket.on("error", () => websocket.terminate());
    websocket.on("close", () => {
      room.members.delete(websocket);
      say(room, message(room, member, "left", `${member.name} left the room.`));
    });
  });
});

server.listen(port, "127.0.0.1", 4096);
process.on("SIGINT", () => process.exit(0));
