"""One connection to the simulated Redis: what arrives on it, and how it can end."""

from collections.abc import Sequence
from typing import Protocol

import hiredis

from tests.simulation.network import Network, SimStream, Wire
from tests.simulation.state import ProcessState


class Server(Protocol):
    """What a connection needs of the server."""

    network: Network

    def serves(self, session: "Session") -> bool:
        """Return whether the server handles the commands of a connection now."""
        ...

    def execute(self, session: "Session", words: Sequence[bytes]) -> None:
        """Carry out a command that arrived on a connection."""
        ...

    def forget(self, session: "Session") -> None:
        """No longer serve a connection."""
        ...


class Session:
    """One connection as Redis sees it."""

    def __init__(self, server: Server, process: ProcessState) -> None:
        network = server.network
        self.process = process
        self.name = b""
        self.channels: dict[bytes, None] = {}
        self.outgoing = Wire(network, process, self._take, incoming=False)
        self.stream = SimStream(network, process, self.outgoing)
        self.incoming = Wire(network, process, self.stream.arrive, incoming=True)
        self._server = server
        self._reader = hiredis.Reader()
        self._ended = False

    def _take(self, data: bytes) -> None:
        """Take bytes that arrived from the process; a frozen Redis handles them later."""
        self._reader.feed(data)
        self._ended = self._ended or not data
        self.stream.note_progress()
        self.serve()

    def serve(self) -> None:
        """Handle every command that has arrived."""
        while self._server.serves(self) and (words := self._reader.gets()) is not False:
            self._server.execute(self, words)
        if self._ended and self._server.serves(self):
            self._server.forget(self)

    def reply(self, data: bytes) -> None:
        self.incoming.send(data)
        waiting = self.incoming.size + self.stream.unread
        if self.channels and waiting > self._server.network.conditions.output:
            self._server.network.world.note("output limit", self.process.number)
            self.reset()

    def end(self) -> None:
        """Close the connection; what Redis has sent still arrives."""
        self._server.forget(self)
        self.outgoing.close()
        self.incoming.send(b"")

    def reset(self) -> None:
        """Reset the connection; what was on its way is lost, and so is a reset during a cut."""
        self._server.forget(self)
        self.outgoing.close()
        if self._server.network.cut(self.process, incoming=True):
            self.incoming.lost = True
        else:
            self.incoming.close()
            self.stream.break_off()

    def lose(self) -> None:
        """Let nothing arrive any more at either end."""
        self.outgoing.lost = self.incoming.lost = True

    def end_or_reset(self) -> None:
        if self._server.network.rng.random() < 0.5:
            self.end()
        else:
            self.reset()
