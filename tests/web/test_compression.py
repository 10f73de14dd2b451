"""Permessage-deflate (RFC 7692): what is agreed on, and how messages are inflated by it."""

import os
import zlib

import pytest
from wsproto.frame_protocol import Opcode

from sharechat.domain.outcomes import BAD_FRAME, TOO_LARGE
from sharechat.net.decoder import CloseFrame, Decoder, Event, Violation
from sharechat.net.deflate import Deflate, negotiate
from sharechat.net.message import Text
from tests.harness.peer import COMPRESSED, FIN, frame

LIMIT = 1 << 16


class Client:
    """Compresses messages as a client does, each with those before it as its context."""

    def __init__(self, bits: int = 15) -> None:
        self._deflate = zlib.compressobj(wbits=-bits)

    def payload(self, message: bytes) -> bytes:
        data = self._deflate.compress(message) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(b"\0\0\xff\xff")

    def message(self, message: bytes) -> bytes:
        return frame(Opcode.TEXT, self.payload(message), flags=FIN | COMPRESSED)


def decoded(agreed: Deflate | None, *data: bytes) -> list[Event]:
    decoder = Decoder(agreed, LIMIT)
    return [event for piece in data for event in decoder.feed(piece)]


def as_text(message: bytes) -> Text:
    return Text(message.decode(), len(message))


# The offers.


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (["permessage-deflate"], "permessage-deflate"),
        (["permessage-deflate; client_max_window_bits"], "permessage-deflate"),
        (
            ["permessage-deflate; client_max_window_bits=9"],
            "permessage-deflate; client_max_window_bits=9",
        ),
        (
            ['permessage-deflate;client_max_window_bits = "10" ; server_max_window_bits="\\8"'],
            "permessage-deflate; server_max_window_bits=8; client_max_window_bits=10",
        ),
        (
            ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        # The first offer that can be accepted counts.
        (
            [
                "permessage-deflate; client_max_window_bits=9; x,"
                "permessage-deflate; client_max_window_bits=12, permessage-deflate"
            ],
            "permessage-deflate; client_max_window_bits=12",
        ),
        (["x-webkit-deflate-frame", "other; y=1", "permessage-deflate"], "permessage-deflate"),
        (['other; y="a, b; \\", permessage-deflate; x", permessage-deflate'], "permessage-deflate"),
        ([", ,permessage-deflate"], "permessage-deflate"),
        (["\xff, permessage-deflate"], "permessage-deflate"),
    ],
)
def test_an_offer_is_accepted_by_its_own_parameters(headers: list[str], answer: str) -> None:
    agreed = negotiate(headers)
    assert agreed is not None
    assert agreed.answer == answer


@pytest.mark.parametrize(
    "header",
    [
        "",
        "permessage-deflate-2",
        "permessage-deflate=1",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=09",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=x",
        'permessage-deflate; client_max_window_bits=""',
        'permessage-deflate; client_max_window_bits="9',
        "permessage-deflate; client_max_window_bits=\u0661\u0660",
        "permessage-deflate client_max_window_bits",
        "permessage-deflate; =9",
        "permessage-deflate; \xff",
        'other; y="permessage-deflate, permessage-deflate',
    ],
)
def test_any_other_offer_is_declined(header: str) -> None:
    assert negotiate([header]) is None


def test_a_hostile_header_is_read_in_proportional_time() -> None:
    for header in ('"\\' * 30_000, '"' * 60_001, "a;" * 30_000, ' "' * 30_000, " " * 60_000):
        assert negotiate([header]) is None


# The messages.


def test_a_message_may_refer_to_those_before_it() -> None:
    client = Client()
    message = os.urandom(5000).hex().encode()
    first, second = client.message(message), client.message(message)
    assert len(second) < 200  # It refers to the first, 10,000 bytes back.
    agreed = negotiate(["permessage-deflate; client_max_window_bits"])
    assert decoded(agreed, first, second) == [as_text(message)] * 2


def test_a_plain_message_between_compressed_ones_is_not_part_of_their_context() -> None:
    client = Client()
    first, second = client.message(b"hello " * 20), client.message(b"hello " * 20)
    plain = frame(Opcode.TEXT, b"x" * 1000)
    events = decoded(Deflate(), first, plain, second)
    assert events == [as_text(b"hello " * 20), as_text(b"x" * 1000), as_text(b"hello " * 20)]


def test_a_client_without_context_takeover_begins_anew_with_each_message() -> None:
    agreed = negotiate(["permessage-deflate; client_no_context_takeover"])
    message = b"hello " * 100
    one, other = Client(), Client()
    assert decoded(agreed, one.message(message), other.message(message)) == [as_text(message)] * 2
    client = Client()
    events = decoded(agreed, client.message(message), client.message(message))
    assert events == [as_text(message), Violation(BAD_FRAME)]


def test_a_client_may_not_refer_further_back_than_the_window_agreed_on() -> None:
    message = os.urandom(1000).hex().encode()
    fallback = "permessage-deflate; client_max_window_bits=9; unknown, permessage-deflate"
    for header, expected in (
        ("permessage-deflate; client_max_window_bits=9", Violation(BAD_FRAME)),
        ("permessage-deflate; client_max_window_bits=12", as_text(message)),
        (fallback, as_text(message)),
    ):
        client = Client()
        agreed = negotiate([header])
        events = decoded(agreed, client.message(message), client.message(message))
        assert events == [as_text(message), expected]


@pytest.mark.parametrize("bits", range(9, 16))
def test_every_window_that_zlib_has_is_inflated(bits: int) -> None:
    client = Client(bits)
    message = os.urandom(5000).hex().encode()
    agreed = negotiate([f"permessage-deflate; client_max_window_bits={bits}"])
    assert decoded(agreed, *map(client.message, [message] * 3)) == [as_text(message)] * 3


# RFC 7692, section 7.2.3.4: a block may be the last of its stream, though not of the message.


def final(message: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(message) + deflate.flush(zlib.Z_FINISH)


@pytest.mark.parametrize(
    "payload",
    [
        final(b"hello") + b"\0",
        final(b"hello"),  # Some leave out the empty block that ought to follow.
        final(b"he") + final(b"llo") + b"\0",
        final(b"he") + Client().payload(b"llo"),
        final(b"") * 3 + Client().payload(b"hello"),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_what_follows_a_final_block_is_inflated_too(payload: bytes, cut: int) -> None:
    whole = frame(Opcode.TEXT, payload, flags=FIN | COMPRESSED)
    if cut:
        whole = frame(Opcode.TEXT, payload[:cut], flags=COMPRESSED)
        whole += frame(Opcode.CONTINUATION, payload[cut:])
    next_one = Client().message(b"and more")
    assert decoded(Deflate(), whole, next_one) == [as_text(b"hello"), as_text(b"and more")]


def test_a_message_of_very_many_final_blocks_is_a_bad_frame() -> None:
    payload = final(b"") * 1000 + Client().payload(b"hello")
    data = frame(Opcode.TEXT, payload, flags=FIN | COMPRESSED)
    assert decoded(Deflate(), data) == [Violation(BAD_FRAME)]


def test_a_bomb_behind_a_final_block_is_too_large() -> None:
    bomb = Client().payload(b"x" * (LIMIT + 1))
    for payload in (final(b"hello") + bomb, final(b"x" * LIMIT) + Client().payload(b"x"), bomb):
        data = frame(Opcode.TEXT, payload, flags=FIN | COMPRESSED)
        assert decoded(Deflate(), data) == [Violation(TOO_LARGE)]


def test_a_compressed_message_may_be_as_large_as_a_plain_one() -> None:
    for message in (b"x" * LIMIT, os.urandom(LIMIT // 2).hex().encode()):
        assert decoded(Deflate(), Client().message(message)) == [as_text(message)]
    # A client may flush as often as it likes, here after each 512 bytes that it only stores.
    stored = zlib.compressobj(0, wbits=-15)
    pieces = [stored.compress(b"x" * 512) + stored.flush(zlib.Z_SYNC_FLUSH)] * (LIMIT // 512)
    payload = b"".join(pieces).removesuffix(b"\0\0\xff\xff")
    assert len(payload) > LIMIT + 1000
    whole = frame(Opcode.TEXT, payload, flags=FIN | COMPRESSED)
    assert decoded(Deflate(), whole) == [as_text(b"x" * LIMIT)]


def test_compressed_bytes_that_hold_nothing_are_bounded() -> None:
    decoder = Decoder(Deflate(), LIMIT)
    empty_block = b"\0\0\0\xff\xff"
    events = decoder.feed(frame(Opcode.TEXT, empty_block, flags=COMPRESSED))
    fragment = frame(Opcode.CONTINUATION, empty_block * 1000, flags=0)
    for _ in range(2 * LIMIT // 5000):
        if not events:
            events = decoder.feed(fragment)
    assert events == [Violation(TOO_LARGE)]


@pytest.mark.parametrize("last", [frame(Opcode.CLOSE, b""), bytes(8)])
def test_nothing_is_left_behind_the_end_that_follows_much_text(last: bytes) -> None:
    decoder = Decoder(Deflate(), LIMIT)
    much = b"x" * LIMIT
    assert decoder.feed(Client().message(much) + last) == [as_text(much)]
    assert decoder.behind
    assert isinstance(decoder.feed(b"")[0], CloseFrame | Violation)
    assert not decoder.behind
