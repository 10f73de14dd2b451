"""A server that is killed with -9 in mid talk, a hundred times on the same file.

    python -m tests.hostile.kills [--rounds 100] [--seed 0]

In each round members of three rooms talk, the server is killed and started again, and they come
back and finish. Exits with 1 if anything that was acknowledged is lost, if anything is stored
twice or heard in another order than that of the log, or if anybody has not left.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import trio

from sharechat.client import room as room_module
from tests.harness.kills import KilledServer, Round


async def _play(rounds: int, seed: int, folder: Path) -> list[Round]:
    played: list[Round] = []
    path = folder / "rooms.db"
    with KilledServer(path) as server:
        for number in range(rounds):
            played.append(await server.play(seed + number))
            if number % 10 == 9:
                print(f"{number + 1} rounds, {path.stat().st_size >> 10} KiB", flush=True)
    return played


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    arguments = parser.parse_args()
    room_module.LONGEST_PAUSE = 0.5
    with tempfile.TemporaryDirectory() as folder:
        try:
            played = trio.run(_play, arguments.rounds, arguments.seed, Path(folder))
        except* AssertionError as failures:
            sys.exit(f"FAILED: {failures.exceptions}")
    stored = sum(round_.stored for round_ in played)
    before = sum(round_.before_kill for round_ in played)
    back = statistics.median(round_.back_after for round_ in played)
    print(f"{len(played)} kills, {stored} messages acknowledged, {before} of them before a kill.")
    print("None is lost, none is stored twice, and everybody has left.")
    print(f"The server was back after {back:.1f} s (median).")


if __name__ == "__main__":
    main()
