"""What a client needs of RFC 6455: a handshake, masked frames, and a scan of frame headers."""

import ssl

TEXT = 0x1
PONG = 0xA

_KEY = "c2hhcmVjaGF0IGJlbmNoIQ=="  # Only proxies need it to be random.
_MASK = b"\x37\xfa\x21\x3d"


def trusting_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate: this is a load test, with nothing to hide."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def handshake(host: str, path: str) -> bytes:
    """Return the request that opens a websocket at `path`; it offers no compression."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Return an unfragmented frame, masked as the RFC demands of clients."""
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


def scan(data: bytes) -> tuple[int, int, list[tuple[int, bytes]]]:
    """Scan the headers of the complete frames in `data`, which must begin with a frame.

    Returns the offset after the last complete frame, the number of messages that end before
    it, and the control frames as (opcode, payload).
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
            elif first & 0x80:  # A binary message, or the last fragment of any.
                messages += 1
            position = after
    except IndexError:
        pass  # The last header is incomplete.
    return position, messages, control


def message_payloads(data: bytes) -> list[bytes]:
    """Return the payloads of all messages in `data`: complete, unfragmented frames."""
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
