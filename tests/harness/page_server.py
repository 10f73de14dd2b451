"""A server that the tests of the page kill and start again, under the same address."""

from typing import NamedTuple

from tests.harness.http import fetch
from tests.harness.ports import free_port
from tests.harness.process import SharechatProcess

NO_LIMITS = ("--room-rate", "0", "--join-rate", "0")
"""All tests come from one address, and together would be too fast."""


class MadeRoom(NamedTuple):
    id: str
    key: str
    """What allows to delete it."""


class PageServer:
    """`sharechat serve` with the given flags. Without a database it forgets when it is killed."""

    def __init__(self, *flags: str) -> None:
        self.port = free_port()
        self._flags = ("--port", str(self.port), "--allowed-host", "chat.test", *flags)
        self._process: SharechatProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def insecure_url(self) -> str:
        """Where a page is no secure context, as on a server in the local network."""
        return f"http://chat.test:{self.port}"

    @property
    def process(self) -> SharechatProcess:
        assert self._process is not None
        return self._process

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        assert not self.running
        process = SharechatProcess(*NO_LIMITS, *self._flags)
        process.start()
        self._process = process

    def kill(self) -> None:
        """Kill it, if it is running."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """Stop it in order, if it is running."""
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stop() == 0
            assert "[error" not in process.stderr, process.stderr

    def make_room(self) -> MadeRoom:
        response = fetch(f"{self.url}/api/room", "POST")
        return MadeRoom(response.json["roomId"], response.headers["Sharechat-Room-Key"])

    def delete_room(self, room: MadeRoom) -> None:
        url = f"{self.url}/api/room/{room.id}"
        assert fetch(url, "DELETE", {"Authorization": f"Bearer {room.key}"}).status == 204

    def owns(self, netloc: str) -> bool:
        return netloc in (f"127.0.0.1:{self.port}", f"chat.test:{self.port}")
