"""The memory of the server's processes, found by the port that they listen on (Linux)."""

import os
from pathlib import Path

_LISTENING = "0A"


class UnknownServerError(RuntimeError):
    """No process here listens on that port, or we may not look at it."""


def listening_on(port: int) -> set[int]:
    """Return the processes that hold a socket listening on `port`. Raises UnknownServerError."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            words = line.split()
            if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    found = {int(fd.parent.parent.name) for fd in _files() if _target(fd) in inodes}
    if not found:
        raise UnknownServerError(f"No process that we may look at listens on port {port}.")
    return found


def resident_bytes(processes: set[int]) -> int:
    """Return the resident memory of these processes and all their descendants."""
    children: dict[int, list[int]] = {}
    resident = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages = int((folder / "statm").read_text().split()[1])
        except OSError:
            continue  # It has just ended.
        children.setdefault(parent, []).append(int(folder.name))
        resident[int(folder.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    tree: set[int] = set()
    waiting = list(processes)
    while waiting:
        if (process := waiting.pop()) not in tree:
            tree.add(process)
            waiting += children.get(process, [])
    return sum(resident.get(process, 0) for process in tree)


def _files() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*/fd/*"))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
