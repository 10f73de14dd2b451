"""The Decoder by itself: framing, fragments and early refusals, however the bytes are cut."""

import tracemalloc

import pytest
from wsproto.frame_protocol import Opcode

from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE
from sharechat.net.decoder import CloseFrame, Decoder, Event, Ping, Violation
from sharechat.net.message import Text
from tests.harness.peer import COMPRESSED, FIN, frame, text

LIMIT = 1 << 20


def decoded(data: bytes, *, limit: int = LIMIT, step: int = 0) -> list[Event]:
    """Feed everything, in pieces of `step` bytes if given; return the events."""
    decoder = Decoder(None, limit)
    events: list[Event] = []
    for start in range(0, len(data), step or len(data)):
        events += decoder.feed(data[start : start + (step or len(data))])
        while decoder.behind:
            events += decoder.feed(b"")
        if events and isinstance(events[-1], CloseFrame | Violation):
            break
    return events


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4000, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_message_is_decoded_wherever_its_header_is_cut(size: int, opcode: Opcode) -> None:
    message = "x" * size
    data = frame(opcode, message.encode())
    for cut in range(1, len(data) - size + 1):
        decoder = Decoder(None, LIMIT)
        assert decoder.feed(data[:cut]) == ([Text(message, size)] if cut == len(data) else [])
        if cut < len(data):
            assert decoder.feed(data[cut:]) == [Text(message, size)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000])
def test_frames_are_decoded_however_they_are_cut(step: int) -> None:
    data = (
        text("żółw" * 70)
        + frame(Opcode.PING, b"now?")
        + frame(Opcode.TEXT, "zażó".encode()[:5], flags=0)
        + frame(Opcode.PING, b"x" * 125)
        + frame(Opcode.CONTINUATION, "zażó".encode()[5:])
        + frame(Opcode.CLOSE, b"\x03\xe8bye")
    )
    assert decoded(data, step=step) == [
        Text("żółw" * 70, 7 * 70),
        Ping(b"now?"),
        Ping(b"x" * 125),
        Text("zażó", 6),
        CloseFrame(b"\x03\xe8bye"),
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6, 7])
def test_a_payload_is_unmasked_however_it_is_cut(step: int) -> None:
    message = bytes(range(97, 123)) * 3
    mask = b"\x01\x22\x43\x64"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(message))
    data = bytes((FIN | Opcode.TEXT, 0x80 | len(message))) + mask + masked
    assert decoded(data, step=step) == [Text(message.decode(), len(message))]


def test_a_length_that_is_not_in_its_shortest_form_is_a_bad_frame() -> None:
    for size in (0, 1, 125):
        assert decoded(b"\x81\xfe" + size.to_bytes(2, "big") + bytes(4)) == [Violation(BAD_FRAME)]
    for size in (0, 126, 65_535):
        assert decoded(b"\x81\xff" + size.to_bytes(8, "big") + bytes(4)) == [Violation(BAD_FRAME)]


def test_a_length_whose_first_bit_is_set_is_a_bad_frame() -> None:
    for first in (0x80, 0xFF):
        assert decoded(b"\x81\xff" + bytes((first,)) + bytes(11)) == [Violation(BAD_FRAME)]
    assert decoded(b"\x81\xff\x7f" + bytes(11)) == [Violation(TOO_LARGE)]


@pytest.mark.parametrize("size", [1, 64])
def test_a_message_may_have_any_number_of_fragments(size: int) -> None:
    count = 60_000 // size
    data = frame(Opcode.TEXT, b"x" * size, flags=0)
    data += frame(Opcode.CONTINUATION, b"x" * size, flags=0) * (count - 2)
    data += frame(Opcode.CONTINUATION, b"x" * size)
    decoder = Decoder(None, LIMIT)
    tracemalloc.start()
    try:
        events: list[Event] = []
        for start in range(0, len(data), 8192):
            events += decoder.feed(data[start : start + 8192])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert events == [Text("x" * size * count, size * count)]
    assert peak < 400_000
    assert decoder.overhead == 0


def test_an_empty_fragment_counts_as_overhead() -> None:
    decoder = Decoder(None, LIMIT)
    decoder.feed(frame(Opcode.TEXT, b"", flags=0) + frame(Opcode.CONTINUATION, b"", flags=0) * 9)
    assert decoder.overhead == 10


def test_an_empty_message_is_a_message_and_no_overhead() -> None:
    decoder = Decoder(None, LIMIT)
    assert decoder.feed(text("") * 3) == [Text("", 0)] * 3
    assert decoder.overhead == 0


@pytest.mark.parametrize(
    "invalid", [b"\xff", b"\xc0\x80", b"\xed\xa0", b"\xf4\x90", b"\xc3x"], ids=bytes.hex
)
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_text_that_is_not_utf8_is_refused_before_its_end(invalid: bytes, opcode: Opcode) -> None:
    begun = frame(opcode, "zażółć".encode()[:-1], flags=0)
    rest = frame(Opcode.CONTINUATION, b"\x87" + invalid + b"x" * 500, flags=0)
    whole_fragment = Decoder(None, LIMIT)
    assert whole_fragment.feed(begun) == []
    assert whole_fragment.feed(rest) == [Violation(NOT_UTF8)]
    part_of_a_frame = Decoder(None, LIMIT)
    assert part_of_a_frame.feed(begun + rest[: 10 + len(invalid)]) == [Violation(NOT_UTF8)]


def test_a_message_that_ends_within_a_character_is_refused() -> None:
    begun = frame(Opcode.TEXT, "é".encode()[:1], flags=0)
    assert decoded(begun + frame(Opcode.CONTINUATION, b"")) == [Violation(NOT_UTF8)]


def test_a_message_is_refused_as_soon_as_it_is_too_large() -> None:
    exact = frame(Opcode.TEXT, b"x" * 60, flags=0) + frame(Opcode.CONTINUATION, b"x" * 40)
    assert decoded(exact, limit=100) == [Text("x" * 100, 100)]
    for more in (frame(Opcode.CONTINUATION, b"x" * 41)[:2], frame(Opcode.CONTINUATION, b"x" * 41)):
        data = frame(Opcode.TEXT, b"x" * 60, flags=0) + more
        assert decoded(data, limit=100) == [Violation(TOO_LARGE)]


def test_a_reserved_bit_is_a_bad_frame_where_no_compression_was_agreed_on() -> None:
    for bit in (COMPRESSED, 0x20, 0x10):
        assert decoded(frame(Opcode.TEXT, b"", flags=FIN | bit)) == [Violation(BAD_FRAME)]
