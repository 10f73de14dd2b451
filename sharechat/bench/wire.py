"""The bytes that a client sends (RFC 6455): a handshake, masked frames made once."""

TEXT = 0x1
PONG = 0xA

_KEY = "c2hhcmVjaGF0IGJlbmNoIQ=="  # Only proxies care whether it is random.
_MASK = b"\x37\xfa\x21\x3d"


def handshake(host: str, path: str) -> bytes:
    """Return the request that opens a websocket; it offers no compression."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame as clients send it."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    mask = _MASK * (length // 4 + 1)
    body = int.from_bytes(payload, "big") ^ int.from_bytes(mask[:length], "big")
    return head + _MASK + body.to_bytes(length, "big")


def walk(data: bytes) -> tuple[int, int, list[tuple[int, bytes]]]:
    """Return the end of the last whole frame, how many messages end there, other frames.

    Looks at nothing but the headers. `data` begins with a frame; the other frames are
    those of control, with their payloads.
    """
    position = messages = 0
    control: list[tuple[int, bytes]] = []
    end = len(data)
    try:
        while position < end:
            length = data[position + 1]
            if length == 126:
                body = position + 4
                after = body + (data[position + 2] << 8 | data[position + 3])
            elif length < 126:
                body = position + 2
                after = body + length
            else:
                body = position + 10
                if body > end:
                    break
                after = body + int.from_bytes(data[position + 2 : body], "big")
            if after > end:
                break
            if (first := data[position]) == 0x81:
                messages += 1
            elif first & 0x08:
                control.append((first & 0x0F, data[body:after]))
            elif first & 0x80:  # A binary message, or the last part of one.
                messages += 1
            position = after
    except IndexError:
        pass  # Not even the header is whole.
    return position, messages, control


def payloads(data: bytes) -> list[bytes]:
    """Return the payloads of the messages in whole, unfragmented frames."""
    found = []
    position = 0
    while position < len(data):
        length, body = data[position + 1], position + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, body = int.from_bytes(data[body : body + size], "big"), body + size
        if not data[position] & 0x08:
            found.append(data[body : body + length])
        position = body + length
    return found
