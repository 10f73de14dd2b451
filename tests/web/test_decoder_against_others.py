"""The Decoder and two other implementations agree on what any sequence of frames says.

They are wsproto and websockets. Both may refuse a sequence; then what each has returned before
has the same beginning, since the Decoder refuses text that is not UTF-8 earlier.
"""

import zlib
from codecs import getincrementaldecoder
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame
from websockets.frames import Opcode as Op
from websockets.protocol import Protocol, Side, State
from wsproto import extensions
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from sharechat.domain.outcomes import TOO_LARGE
from sharechat.net.decoder import CloseFrame, Decoder, Ping, Violation
from sharechat.net.deflate import negotiate
from sharechat.net.message import Text
from tests.harness.peer import COMPRESSED, FIN

LIMIT = 1 << 17

END = bytes(70_000)
"""Ends every sequence: it completes any frame that is legal, and is refused afterwards."""


class Said(NamedTuple):
    """What a decoder has made of a sequence."""

    events: list[tuple[str, bytes]]
    """Texts, pings, and the payload of the close frame."""
    refused: bool
    too_large: bool = False


class Texts:
    """Checks the pieces of messages as they come; binary ones have to be UTF-8, too."""

    def __init__(self) -> None:
        self._utf8 = getincrementaldecoder("utf-8")()
        self._text = ""

    def add(self, piece: bytes | str, *, last: bool) -> bytes | None:
        data = piece.encode() if isinstance(piece, str) else piece
        self._text += self._utf8.decode(data, last)
        if not last:
            return None
        whole, self._text = self._text, ""
        return whole.encode()


def by_sharechat(offer: str, pieces: Sequence[bytes]) -> Said:
    decoder = Decoder(negotiate([offer]), LIMIT)
    said: list[tuple[str, bytes]] = []
    for piece in pieces:
        events = decoder.feed(piece)
        while decoder.behind:
            events += decoder.feed(b"")
        for event in events:
            match event:
                case Text(message, size):
                    assert len(message.encode()) == size
                    said.append(("text", message.encode()))
                case Ping(payload):
                    said.append(("ping", payload))
                case CloseFrame(payload):
                    return Said([*said, ("close", payload)], refused=False)
                case Violation(close):
                    return Said(said, refused=True, too_large=close == TOO_LARGE)
    return Said(said, refused=False)


def by_wsproto(offer: str, pieces: Sequence[bytes]) -> Said:
    agreed = []
    if offer:
        agreed = [extensions.PerMessageDeflate()]
        agreed[0].finalize(offer)
    protocol = FrameProtocol(client=False, extensions=list(agreed))
    said: list[tuple[str, bytes]] = []
    texts = Texts()
    try:
        for piece in pieces:
            protocol.receive_bytes(piece)
            for frame in protocol.received_frames():
                payload: Any = frame.payload
                if frame.opcode is Opcode.PING:
                    said.append(("ping", bytes(payload)))
                elif frame.opcode is Opcode.CLOSE:
                    code, reason = payload
                    head = b"" if code == 1005 else int(code).to_bytes(2, "big")
                    return Said([*said, ("close", head + reason.encode())], refused=False)
                elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                    whole = texts.add(payload, last=frame.message_finished)
                    if whole is not None:
                        said.append(("text", whole))
    except (ParseFailed, UnicodeDecodeError):
        return Said(said, refused=True)
    return Said(said, refused=False)


def by_websockets(offer: str, pieces: Sequence[bytes]) -> Said:
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=LIMIT)
    if agreed := negotiate([offer]):
        bits = agreed.client_max_window_bits or 15
        reset = agreed.client_no_context_takeover
        protocol.extensions = [PerMessageDeflate(reset, False, bits, 15)]
    said: list[tuple[str, bytes]] = []
    texts = Texts()
    for piece in pieces:
        protocol.receive_data(piece)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Op.PING:
                said.append(("ping", bytes(frame.data)))
            elif frame.opcode is Op.CLOSE:
                return Said([*said, ("close", bytes(frame.data))], refused=False)
            elif frame.opcode in (Op.TEXT, Op.BINARY, Op.CONT):
                try:
                    whole = texts.add(bytes(frame.data), last=frame.fin)
                except UnicodeDecodeError:
                    return Said(said, refused=True)
                if whole is not None:
                    said.append(("text", whole))
        if protocol.parser_exc is not None:
            if close := protocol.close_rcvd:
                # Refused only for coming within a message, which is legal (RFC 6455, 5.4).
                payload = b"" if close.code == CloseCode.NO_STATUS_RCVD else close.serialize()
                return Said([*said, ("close", payload)], refused=False)
            return Said(said, refused=True)
    return Said(said, refused=False)


# Sequences of frames.


class Piece(NamedTuple):
    """A frame, valid or not; compressed payloads are those of one client."""

    opcode: int
    payload: bytes
    flags: int = FIN
    key: bytes | None = b"\0\0\0\0"

    def encode(self) -> bytes:
        size = len(self.payload)
        masked = 0 if self.key is None else 0x80
        if size < 126:
            head = bytes((self.flags | self.opcode, masked | size))
        elif size < 1 << 16:
            head = bytes((self.flags | self.opcode, masked | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((self.flags | self.opcode, masked | 127)) + size.to_bytes(8, "big")
        if self.key is None:
            return head + self.payload
        mask = int.from_bytes((self.key * (size // 4 + 1))[:size])
        masked_payload = (int.from_bytes(self.payload) ^ mask).to_bytes(size)
        return head + self.key + masked_payload


KEYS = st.binary(min_size=4, max_size=4)
SHORT = st.binary(max_size=125)
CLOSES = st.one_of(
    st.just(b""),
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason.encode(),
        st.sampled_from([1000, 1001, 1007, 1011, 3000, 4999]),
        st.text(max_size=30),
    ),
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason,
        st.integers(0, 5100),
        st.binary(max_size=9),
    ),
    st.binary(max_size=3),
)
CONTROLS = st.one_of(
    st.builds(Piece, st.sampled_from([Opcode.PING, Opcode.PONG]), SHORT, st.just(FIN), KEYS),
    st.builds(Piece, st.just(Opcode.CLOSE), CLOSES, st.just(FIN), KEYS),
)
PINGS = st.builds(Piece, st.just(Opcode.PING), SHORT, st.just(FIN), KEYS)
ODD = st.builds(
    Piece,
    st.integers(0, 15),
    st.one_of(SHORT, st.binary(min_size=126, max_size=200)),
    st.sampled_from([FIN, FIN, 0, FIN | 0x20, 0x10]),
    st.one_of(KEYS, KEYS, st.none()),
)
ODD_RSV1 = st.builds(
    Piece,
    st.sampled_from([Opcode.CONTINUATION, *range(3, 16)]),
    SHORT,
    st.sampled_from([FIN | COMPRESSED, COMPRESSED]),
    KEYS,
)


class Message(NamedTuple):
    """A message in fragments, perhaps with pings between them."""

    opcode: int
    data: bytes
    compressed: bool
    cuts: list[int]
    between: list[Piece]
    key: bytes


MESSAGES = st.builds(
    Message,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.one_of(
        st.text(max_size=300).map(str.encode),
        st.text(max_size=300).map(str.encode),
        st.integers(0, 66_000).map(lambda size: b"x" * size),
        st.binary(max_size=20),
    ),
    st.booleans(),
    st.lists(st.integers(0, 1 << 17), max_size=5),
    st.lists(PINGS, max_size=2),
    KEYS,
)


class Client:
    """Encodes messages, compressed as was agreed on."""

    def __init__(self, offer: str) -> None:
        self._agreed = negotiate([offer])
        self._deflate: zlib._Compress | None = None

    def encode(self, item: Message | Piece) -> bytes:
        if isinstance(item, Piece):
            return item.encode()
        data, first = item.data, 0
        if item.compressed and self._agreed:
            data, first = self._compress(data), COMPRESSED
        cuts = sorted({cut % (len(data) + 1) for cut in item.cuts})
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        encoded = b""
        for index, part in enumerate(parts):
            opcode = Opcode.CONTINUATION if index else item.opcode
            fin = FIN if index == len(parts) - 1 else 0
            encoded += Piece(opcode, part, fin | (0 if index else first), item.key).encode()
            if not fin and index < len(item.between):
                encoded += item.between[index].encode()
        return encoded

    def _compress(self, data: bytes) -> bytes:
        assert self._agreed is not None
        if self._deflate is None or self._agreed.client_no_context_takeover:
            bits = self._agreed.client_max_window_bits or 15
            self._deflate = zlib.compressobj(wbits=-bits)
        data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(b"\0\0\xff\xff")


OFFERS = st.sampled_from(
    [
        "",
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=9",
        "permessage-deflate; client_no_context_takeover",
    ]
)
VALID = st.lists(st.one_of(MESSAGES, PINGS), max_size=6)
ITEMS = st.lists(st.one_of(MESSAGES, MESSAGES, CONTROLS, ODD, ODD_RSV1), max_size=6)
CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)


def encode(offer: str, items: Sequence[Message | Piece]) -> bytes:
    client = Client(offer)
    return b"".join(client.encode(item) for item in items)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    at = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def assert_same(ours: Said, theirs: Said) -> None:
    if ours.too_large and not theirs.refused:
        # The other one has no limit, and waits for the rest.
        assert ours.events == theirs.events
        return
    assert ours.refused == theirs.refused
    if ours.refused:
        shorter, longer = sorted((ours.events, theirs.events), key=len)
        assert longer[: len(shorter)] == shorter
    else:
        assert ours.events == theirs.events


# No deadline: on a busy machine a single example may take any time.
@given(OFFERS, VALID, CUTS)
def test_all_decode_valid_messages_to_the_same(
    offer: str, items: list[Message | Piece], cuts: list[int]
) -> None:
    pieces = [*cut(encode(offer, items), cuts), END]
    ours = by_sharechat(offer, pieces)
    if not (offer and any(isinstance(item, Message) and item.between for item in items)):
        # Wsproto forgets that a message is compressed if a ping comes between its fragments.
        assert_same(ours, by_wsproto(offer, pieces))
    assert_same(ours, by_websockets(offer, pieces))


@given(OFFERS, ITEMS, CUTS)
def test_all_refuse_the_same_frames(
    offer: str, items: list[Message | Piece], cuts: list[int]
) -> None:
    pieces = [*cut(encode(offer, items), cuts), END]
    ours = by_sharechat(offer, pieces)
    if not (offer and any(isinstance(item, Message) and item.between for item in items)):
        # Wsproto forgets that a message is compressed if a ping comes between its fragments.
        assert_same(ours, by_wsproto(offer, pieces))
    assert_same(ours, by_websockets(offer, pieces))


@given(VALID, CUTS, st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4))
@settings(max_examples=300)
def test_wsproto_decodes_mutated_bytes_to_the_same(
    items: list[Message | Piece], cuts: list[int], changes: list[tuple[int, int]]
) -> None:
    """Websockets does not check that a length has its shortest form."""
    data = bytearray(encode("", items))
    for position, value in changes:
        if data:
            data[position % len(data)] = value
    pieces = [*cut(bytes(data), cuts), END]
    assert_same(by_sharechat("", pieces), by_wsproto("", pieces))
