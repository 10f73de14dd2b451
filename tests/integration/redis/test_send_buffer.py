"""The bytes on their way to Redis, without any I/O."""

from sharechat.adapters.redis.protocol import pack
from sharechat.adapters.redis.send_buffer import SendBuffer


def test_a_send_buffer_takes_what_fits_while_it_is_open() -> None:
    buffer = SendBuffer(10)
    assert not buffer.put(b"1")
    buffer.open()
    assert buffer.put(b"12345678")
    assert not buffer.put(b"123")
    assert buffer.put(b"urgent", urgent=True)
    assert buffer.take_dropped() == 2
    assert buffer.take_dropped() == 0
    assert buffer.take() == b"12345678urgent"
    assert buffer.take() == b""
    buffer.put(b"lost")
    buffer.close()
    assert buffer.take() == b""


def test_a_send_buffer_holds_as_much_again_after_it_was_taken_or_closed() -> None:
    buffer = SendBuffer(10)
    buffer.open()
    for empty in (buffer.take, buffer.close):
        for _ in range(3):
            assert buffer.put(b"1234567890")
            assert not buffer.put(b"1")
            empty()
            assert buffer.size == 0
            buffer.open()


def test_commands_are_packed_as_redis_reads_them() -> None:
    assert pack((b"PUBLISH", b"c", b"\r\n")) == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$2\r\n\r\n\r\n"
