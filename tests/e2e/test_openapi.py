"""The server does what /api/openapi.json says, and nothing else."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.http import HANDSHAKE, fetch, make_room
from tests.harness.process import BIN, SharechatProcess, environment

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]

UNKNOWN = "5a9759fb-a35b-4311-885b-c90a8fddb8fa"
"""The id of a room or a message that does not exist."""


@pytest.fixture(scope="module", name="described")
def _described(server: SharechatProcess) -> Any:
    response = fetch(f"{server.url}/api/openapi.json")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    return response.json


def test_schemathesis_finds_no_difference(tmp_path: Path) -> None:
    """Some 400 requests, always the same ones: valid, invalid, and one after another."""
    with SharechatProcess("--room-rate", "0", "--join-rate", "0") as server:
        done = subprocess.run(
            [
                str(BIN / "schemathesis"),
                "--config-file",
                str(_HERE / "schemathesis.toml"),
                "run",
                f"{server.url}/api/openapi.json",
            ],
            env=environment(
                SCHEMATHESIS_HOOKS=str(_HERE / "schemathesis_hooks.py"), PYTHONPATH=str(_ROOT)
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "No issues found" in done.stdout
        assert server.stop() == 0
    assert "[error" not in server.stderr


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("ROOM", {}, 101),
        (UNKNOWN, {}, 404),
        (f"ROOM?after={UNKNOWN}", {}, 400),
        ("ROOM", {"Sec-WebSocket-Key": "x"}, 400),
        ("ROOM", {"Sec-WebSocket-Version": "7"}, 426),
        ("ROOM", {"Upgrade": "x"}, 426),
        ("ROOM", {"Origin": "http://evil.example"}, 403),
        ("ROOM", {"Host": "evil.example"}, 403),
    ],
)
def test_a_handshake_is_answered_as_described(
    server: SharechatProcess, described: Any, path: str, headers: dict[str, str], status: int
) -> None:
    path = path.replace("ROOM", make_room(server.url))
    answer = fetch(f"{server.url}/api/serve/{path}", headers=HANDSHAKE | headers)
    assert answer.status == status
    response = described["paths"]["/api/serve/{roomId}"]["get"]["responses"][str(status)]
    for name, header in response.get("headers", {}).items():
        assert (name in answer.headers) >= header["required"]
    if status != 101:
        content = response["content"][answer.headers["Content-Type"]]
        _, narrowing = content["schema"]["allOf"]
        assert answer.json["type"] in narrowing["properties"]["type"]["enum"]
