"""A server that is killed with -9 in mid talk has lost nothing that it had acknowledged."""

from pathlib import Path

import pytest

from sharechat.client import room as room_module
from tests.harness.kills import KilledServer


@pytest.mark.time_limit(120)
async def test_what_was_acknowledged_survives_a_kill_in_mid_talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times on one file; `python -m tests.hostile.kills` does it a hundred times."""
    monkeypatch.setattr(room_module, "LONGEST_PAUSE", 0.5)
    with KilledServer(tmp_path / "rooms.db") as server:
        for seed in range(3):
            played = await server.play(seed)
            assert played.stored > played.before_kill
