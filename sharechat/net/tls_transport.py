"""A Transport over TLS: the same buffer and limits, with records instead of bytes."""

import socket
import ssl
from contextlib import suppress

import trio

from sharechat.net.transport import STALL_TIMEOUT, Transport

_RECORD = 1 << 14
"""Bytes of plaintext in a record, at most (RFC 8446, section 5.1)."""

_LATER = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class NotTlsError(Exception):
    """The peer has sent an HTTP request in the clear."""


class TlsTransport(Transport):
    """See Transport. The buffer holds plaintext, and `backlog` counts that.

    A record is encrypted only when the one before it has gone, so all but one can still be
    dropped. One that has gone in part counts as waiting; `drain` therefore sees progress only
    when a peer has read a whole record, of 16 KiB at most.
    """

    secure = True

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        stall_timeout: float = STALL_TIMEOUT,
    ) -> None:
        """Take ownership of an accepted socket. Raises OSError if its peer has gone already."""
        # Not by a MemoryBIO, which would keep memory of the size of the largest batch for each
        # idle member; OpenSSL frees its buffers when they are empty.
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(self._tls, stall_timeout=stall_timeout)

    async def handshake(self) -> None:
        """Do the TLS handshake. Nothing else may be called before, except for closing.

        Raises NotTlsError, and BrokenResourceError if it fails in another way. If cancelled, the
        Transport can only be closed.
        """
        while True:
            self._check()
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as error:
                if getattr(error, "reason", None) == "HTTP_REQUEST":
                    raise NotTlsError from None
                raise trio.BrokenResourceError(str(error)) from error

    def without_tls(self) -> Transport:
        """Return a Transport in the clear to the same peer, after NotTlsError. This one is closed.

        OpenSSL has sent nothing to such a peer.
        """
        plain = socket.socket(fileno=self.socket.detach())
        self.closed = True
        return Transport(plain, stall_timeout=self._stall_timeout)

    async def wait_readable(self) -> None:
        self._check()
        # The rest of a record is in OpenSSL, and the kernel knows nothing of it.
        if self._tls.pending():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self.socket)

    def read_nowait(self, max_bytes: int) -> bytes:
        self._check()
        try:
            return self.socket.recv(max_bytes)
        except _LATER:  # A part of a record has come, or something that is not data.
            raise trio.WouldBlock from None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def write(self, data: bytes) -> None:
        self._check()
        if not data:
            return
        self._outgoing.append(memoryview(data))
        self.backlog += len(data)
        if len(self._outgoing) == 1:
            self.flush()

    def flush(self) -> None:
        self._check()
        while self._outgoing:
            try:
                # OpenSSL wants the same bytes again until their record has gone as a whole.
                sent = self.socket.send(self._head(self._begun or _RECORD))
            except _LATER:
                self._begun = self._begun or min(_RECORD, self.backlog)
                return
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            self._begun = 0
            self._remove(sent)

    def _head(self, size: int) -> memoryview | bytearray:
        """Return the first bytes of the buffer, `size` or all."""
        if len(self._outgoing) == 1 or len(self._outgoing[0]) >= size:
            return self._outgoing[0][:size]
        head = bytearray()
        for chunk in self._outgoing:
            head += chunk[: size - len(head)]
            if len(head) == size:
                break
        return head

    def shut_write(self) -> None:
        """See Transport. What comes afterwards is not decrypted, as it can only be dropped."""
        if not (self.closing or self.closed):
            # It sends our close_notify, and raises unless the peer's has come.
            with suppress(OSError):
                self._tls.unwrap()
        super().shut_write()
