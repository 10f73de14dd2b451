"""The lock that keeps a second process from using the same database."""

import fcntl
import os
from pathlib import Path

from sharechat.domain.errors import SharechatError


class DataInUseError(SharechatError):
    """Another process uses the database."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"Another process keeps its rooms in {path}: stop it, or choose another file (--data)."
        )


def acquire_lock(path: Path) -> int:
    """Lock the database at `path` for this process; return a descriptor that holds the lock.

    The lock ends when the descriptor is closed, or with the process, however that ends. It is on
    a file beside the database: closing a descriptor of the database itself would end the locks
    that SQLite has on it. Raises DataInUseError and OSError.
    """
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DataInUseError(path) from None
    except BaseException:
        os.close(lock)
        raise
    return lock
