"""What is logged of a failing database, and when it is unhealthy."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import psycopg
import pytest
import structlog
import trio
from psycopg import errors
from trio.testing import MockClock

from sharechat.adapters.postgres import statements
from sharechat.adapters.postgres.error_map import map_error
from sharechat.adapters.postgres.health import Health
from sharechat.domain.errors import UnavailableError
from tests.harness.drafts import chat
from tests.harness.postgres import PostgresServer
from tests.harness.postgres_clients import Connection, open_repository
from tests.harness.repositories import set_up_member

Logs = list[MutableMapping[str, Any]]


@pytest.fixture(name="logs")
def _logs() -> Iterator[Logs]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_an_outage_is_logged_once_a_cause_and_when_it_is_over(
    autojump_clock: MockClock, logs: Logs
) -> None:
    health = Health("secret")
    for number in range(100):
        health.record_failure(psycopg.OperationalError(f"secret\n block {number} is\tgone"))
        health.record_failure(errors.DiskFull("no space"))
        health.record_success()
        await trio.sleep(1)
    await trio.sleep(5)
    health.record_success()
    assert len(logs) == 2
    health.disk_full = False
    health.record_success()
    health.record_success()
    health.record_failure(errors.DiskFull("no space"))
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("database unavailable", "*** block 0 is gone"),
        ("database unavailable", "no space"),
        ("database available again", None),
        ("database unavailable", "no space"),
    ]
    assert logs[2]["failed_calls"] == 200


async def test_refused_data_is_no_outage(autojump_clock: MockClock, logs: Logs) -> None:
    health = Health()
    health.record_failure(errors.UniqueViolation("twice"))
    assert logs == []


async def test_the_reason_is_postgres_own(server: PostgresServer, logs: Logs) -> None:
    url = server.url.replace("postgres@", "nobody:secret@")
    async with open_repository(url) as repository:
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await repository.check()
    (line,) = logs
    assert 'role "nobody" does not exist' in line["reason"]
    assert "secret" not in str(line)


async def test_a_full_disk_is_unhealthy_until_there_is_space(
    url: str, connection: Connection, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repository(url) as repository:
        process, room, member = await set_up_member(repository)
        await connection.execute(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE 'could not extend file' USING ERRCODE = 'disk_full', HINT = 'Free space.';"
            " END $$"
        )
        try:
            await connection.execute(
                "CREATE TRIGGER fill BEFORE INSERT ON messages EXECUTE FUNCTION fill()"
            )
            # There is space for a temporary file, so this replaces writing one.
            with monkeypatch.context() as patch:
                patch.setattr(
                    statements,
                    "SORT_ON_DISK",
                    "DO $$ BEGIN RAISE 'full' USING ERRCODE = 'disk_full'; END $$",
                )
                await repository.check()
                with pytest.raises(UnavailableError, match="no space"):
                    await repository.append([chat(room, member, "x")], process)
                for _ in range(2):
                    with pytest.raises(UnavailableError, match="no space"):
                        await repository.check()
        finally:
            await connection.execute("DROP FUNCTION fill CASCADE")
        await repository.check()
        await repository.append([chat(room, member, "x")], process)
    assert logs[0]["reason"] == "could not extend file. Free space."


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.DiskFull, "no space left"),
        (errors.OutOfMemory, "short of resources"),
        (errors.ConfigurationLimitExceeded, "short of resources"),
        (errors.IoError, "cannot use its files"),
    ],
)
def test_a_server_that_lacks_something_is_unavailable_and_says_what(
    error: type[psycopg.Error], text: str
) -> None:
    mapped = map_error(error())
    assert isinstance(mapped, UnavailableError)
    assert text in str(mapped)
