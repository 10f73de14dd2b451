"""TLS in tests: an authority of their own, and a client's end of a connection."""

import ssl
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import trio
import trustme


@cache
def authority() -> trustme.CA:
    """Return the authority that all tests of this process trust."""
    return trustme.CA()


@cache
def server_context() -> ssl.SSLContext:
    """Return the context of a server on 127.0.0.1, as simple as it can be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_context(protocols: Sequence[str] = ()) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def write_certificate(folder: Path, *names: str, authority_: trustme.CA | None = None) -> list[str]:
    """Write a new certificate and its key into `folder`; return the flags that name them."""
    issued = (authority_ or authority()).issue_cert(*(names or ("127.0.0.1", "localhost")))
    key, chain = folder / "key.pem", folder / "chain.pem"
    issued.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return ["--certfile", str(chain), "--keyfile", str(key)]


class _InSips(trio.abc.Stream):
    """A stream that takes little from the kernel at a time, as TLS would otherwise read ahead."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(1024))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class TlsStream(trio.abc.Stream):
    """A client's end of a TLS connection, with what tests need of its socket.

    Like a SocketStream it closes without waiting for the other end.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext | None = None) -> None:
        self._stream = stream
        self.tls = trio.SSLStream(
            _InSips(stream), context or client_context(), server_hostname="127.0.0.1"
        )

    @property
    def socket(self) -> trio.socket.SocketType:
        return self._stream.socket

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._stream.setsockopt(level, option, value)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.tls.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come; b"" only if the other end has said properly that it is done."""
        return bytes(await self.tls.receive_some(max_bytes))

    async def send_eof(self) -> None:
        """End what is sent as TCP does, without a word of TLS."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


ClientStream = trio.SocketStream | TlsStream


async def open_tls(port: int, context: ssl.SSLContext | None = None) -> TlsStream:
    """Connect to a server on 127.0.0.1, and do the handshake."""
    stream = TlsStream(await trio.open_tcp_stream("127.0.0.1", port), context)
    await stream.tls.do_handshake()
    return stream
