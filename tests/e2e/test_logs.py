"""What the log has: a line a cause, whoever meets it and however often."""

import socket
import sys
from pathlib import Path

from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import fetch, make_room
from tests.harness.process import ServerProcess

_PROGRAM = """
from sharechat import cli
from sharechat.net.admission import Admission

admit = Admission.admit_connection

def admit_or_fail(self, address):
    if address == "127.0.0.2":
        raise RuntimeError("a bug")
    return admit(self, address)

Admission.admit_connection = admit_or_fail
cli.main()
"""


def _connect_from(address: str, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), DEADLINE, (address, 0)) as connection:
        assert connection.recv(1) == b""


def test_a_failure_that_many_connections_cause_is_logged_once(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    with ServerProcess(
        [sys.executable, str(program), "serve", "--port", "0", "--in-memory"]
    ) as server:
        for _ in range(200):
            _connect_from("127.0.0.2", server.port)
        assert fetch(f"{server.url}/api/healthz").status == 200
        assert server.stop() == 0
    assert server.stderr.count("connection failed") == 1
    assert server.stderr.count("Traceback") == 1


def test_an_outage_of_postgres_is_logged_with_its_reason_and_when_it_is_over(
    servers: Cluster,
) -> None:
    """Takes five seconds of real time: only then does a server call the outage over."""
    server = servers.serve_impatiently()
    make_room(server.url)
    servers.postgres.stop()
    try:
        for _ in range(20):
            wait_until(lambda: fetch(f"{server.url}/api/healthz").status == 503)
    finally:
        servers.postgres.start()
    wait_until(lambda: "database available again" in server.stderr)
    make_room(server.url)
    assert server.stop() == 0
    lines = server.stderr.splitlines()
    assert any("database unavailable" in line and "refused" in line for line in lines)
    assert len(lines) <= 12, server.stderr
