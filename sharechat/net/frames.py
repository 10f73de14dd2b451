"""The frames that the server sends on a websocket, as bytes (RFC 6455, section 5)."""

from collections.abc import Sequence

TEXT = 0x1
CLOSE = 0x8
PING = 0x9
PONG = 0xA

NO_CODE = 1005
"""The code of a close frame without one (section 7.4.1); it is never sent."""

NO_CLOSE_FRAME = 1006
"""The code of a connection that has ended without a close frame; it is never sent."""

_FIN = 0x80
_MAX_REASON = 123  # A control frame holds 125 bytes, of which the code takes 2.


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole, unmasked frame.

    A server does not mask its frames, so the same bytes go to every client. With RSV1 clear
    they are legal also where compression was negotiated (RFC 7692, section 6).
    """
    length = len(payload)
    if length < 126:
        head = bytes((_FIN | opcode, length))
    elif length < 1 << 16:
        head = bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload


def next_boundary(frames: bytes, position: int) -> int:
    """Return where the frame ends that `position` is inside of, or `position` between two."""
    end = 0
    while end < position:
        length = frames[end + 1]
        if length < 126:
            end += 2 + length
        elif length == 126:
            end += 4 + int.from_bytes(frames[end + 2 : end + 4], "big")
        else:
            end += 10 + int.from_bytes(frames[end + 2 : end + 10], "big")
    return end


def text_frames(texts: Sequence[bytes]) -> bytes:
    """Return one text frame for each of the texts, which are UTF-8."""
    return b"".join([frame(TEXT, text) for text in texts])


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that is too long is cut off at a character's boundary."""
    payload = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + payload)
