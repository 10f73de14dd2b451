"""The memory of the server's processes, which are found by the port they listen on (Linux)."""

import os
import time
from pathlib import Path

_LISTEN_STATE = "0A"


class UnknownServerError(RuntimeError):
    """No process on this machine that we may inspect listens on the port."""


def pids_listening_on(port: int) -> set[int]:
    """Return the ids of the processes that hold a TCP socket listening on `port`.

    Raises UnknownServerError if there is none.
    """
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    links = Path("/proc").glob("[0-9]*/fd/*")
    found = {int(link.parent.parent.name) for link in links if _target(link) in inodes}
    if not found:
        raise UnknownServerError(
            f"No process listens on port {port}, or this user may not inspect it."
        )
    return found


def resident_bytes(pids: set[int]) -> int:
    """Return the resident memory, in bytes, of these processes and all their descendants."""
    children: dict[int, list[int]] = {}
    resident = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages = int((folder / "statm").read_text().split()[1])
        except OSError:
            continue  # The process has just ended.
        children.setdefault(parent, []).append(int(folder.name))
        resident[int(folder.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    tree: set[int] = set()
    to_visit = list(pids)
    while to_visit:
        if (pid := to_visit.pop()) not in tree:
            tree.add(pid)
            to_visit += children.get(pid, [])
    return sum(resident.get(pid, 0) for pid in tree)


class MemoryLog:
    """Samples of the server's resident memory; there are none if its processes are not here."""

    def __init__(self, port: int, every: float) -> None:
        """Sample the processes that listen on `port`, at most every so many seconds."""
        try:
            self._pids = pids_listening_on(port)
        except UnknownServerError:
            self._pids = set()
        self._every = every
        self._began = self._next = time.monotonic()
        self.samples: list[tuple[float, float]] = []
        """Seconds since the beginning, and megabytes."""

    def look(self) -> None:
        """Take a sample if it is time."""
        now = time.monotonic()
        if self._pids and now >= self._next:
            self._next = now + self._every
            self.samples.append((now - self._began, resident_bytes(self._pids) / 1_000_000))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
