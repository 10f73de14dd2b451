"""What a client is told of a server that it cannot speak to."""

from pathlib import Path

import pytest
import trio

from sharechat import client
from tests.harness.command import only_line, sharechat
from tests.harness.deadline import DEADLINE
from tests.harness.process import SharechatProcess
from tests.harness.tls import write_certificate

ROOM = "room/01a209ce-f695-75d0-bf41-29e68cb37e98"


async def test_a_certificate_that_is_not_trusted_ends_it_at_once(tmp_path: Path) -> None:
    with SharechatProcess(*write_certificate(tmp_path)) as server:
        where = f"https://127.0.0.1:{server.port}"
        told = f"The certificate of 127.0.0.1:{server.port} is not trusted"
        with trio.fail_after(DEADLINE):
            with pytest.raises(client.CertificateError, match=told):
                await client.create_room(where)
            with pytest.raises(client.CertificateError, match=told):
                async with client.join(f"{where}/{ROOM}"):
                    pass
        done = await sharechat("join", f"{where}/{ROOM}")
        assert done.returncode == 1
        assert told in only_line(done.stderr)


async def test_a_port_without_tls_is_named(unlimited: SharechatProcess) -> None:
    where = f"https://127.0.0.1:{unlimited.port}"
    told = f"127.0.0.1:{unlimited.port} does not speak TLS"
    with pytest.raises(client.UnreachableError, match=told):
        await client.create_room(where)
    done = await sharechat("join", f"{where}/{ROOM}", "--patience", "0.5")
    assert done.returncode == 1
    assert told in done.stderr.decode()


async def test_a_rooms_id_alone_means_a_room_on_this_machine() -> None:
    with pytest.raises(ValueError, match="the address of its server is missing"):
        async with client.join(ROOM.removeprefix("room/")):
            pass
    done = await sharechat("join", ROOM.removeprefix("room/"), "--patience", "0.5")
    assert done.returncode == 1
    # Whether or not a server happens to listen there.
    assert "127.0.0.1:8080" in done.stderr.decode() or "no such room" in done.stderr.decode()
