"""The certificate of a server that speaks TLS itself."""

import ssl
from pathlib import Path


class Certificate:
    """A certificate chain and its private key, as files in PEM.

    `context` is that of new connections.
    """

    def __init__(self, certfile: Path, keyfile: Path) -> None:
        """Read the files. Raises OSError, of which ssl.SSLError is one kind."""
        self._files = certfile, keyfile
        self.context = self._read()

    def reload(self) -> None:
        """Read the files again, for the connections to come.

        Raises OSError; then the certificate stays what it was.
        """
        self.context = self._read()

    def _read(self) -> ssl.SSLContext:
        for file in self._files:
            file.open().close()  # Its error names the file, unlike OpenSSL's.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A peer could make the server compute without end, and a write might have to wait for
        # bytes to read.
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        # Without the function OpenSSL would ask the terminal for the password of a key.
        context.load_cert_chain(*self._files, password=lambda: b"")
        return context
