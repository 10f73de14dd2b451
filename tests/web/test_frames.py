"""Frames as the server builds them, parsed by wsproto."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from sharechat.net.frames import PING, close_frame, frame, next_boundary, text_frames


def heard(data: bytes) -> list[object]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return list(client.events())


@given(st.lists(st.text()))
def test_each_text_is_one_frame_and_they_keep_their_order(texts: list[str]) -> None:
    events = heard(text_frames([text.encode() for text in texts]))

    assert events == [TextMessage(text) for text in texts]


# Lengths on both sides of where their encoding changes (RFC 6455, section 5.2).
@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537])
def test_a_text_of_any_length_arrives(length: int) -> None:
    assert heard(text_frames([b"x" * length])) == [TextMessage("x" * length)]


def test_a_ping_carries_its_payload() -> None:
    assert heard(frame(PING, b"there?")) == [Ping(b"there?")]


@given(st.lists(st.binary(max_size=70_000), max_size=5), st.integers(min_value=0))
def test_the_next_boundary_is_the_end_of_the_frame(payloads: list[bytes], position: int) -> None:
    frames = text_frames(payloads)
    ends = [len(text_frames(payloads[:count])) for count in range(len(payloads) + 1)]
    position %= len(frames) + 1
    assert next_boundary(frames, position) == min(end for end in ends if end >= position)


@given(st.text())
def test_a_close_carries_its_code_and_as_much_of_its_reason_as_fits(reason: str) -> None:
    data = close_frame(4410, reason)

    (event,) = heard(data)
    assert isinstance(event, CloseConnection)
    assert event.code == 4410
    assert reason.startswith(event.reason or "")
    assert len(data) <= 2 + 125
    if len(reason.encode()) <= 123:
        assert (event.reason or "") == reason
