"""Sockets: accepting connections, the websocket protocol, and how hypercorn hands over."""
