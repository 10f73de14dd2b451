"""Processor time by program, from /proc."""

import os
from collections import Counter
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def seconds_by_program() -> Counter[str]:
    """Return the processor seconds that all running processes have used so far.

    The keys are "<program> user" and "<program> kernel". Processes that have ended are not
    counted, so the difference of two calls can be too small, or negative.
    """
    ticks: Counter[str] = Counter()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            name = _program(stat.parent)
        except OSError:
            continue  # The process has just ended.
        ticks[f"{name} user"] += int(fields[11])
        ticks[f"{name} kernel"] += int(fields[12])
    return Counter({name: count / _TICKS_PER_SECOND for name, count in ticks.items()})


def _program(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    executable = Path(words[0].split(" ")[0].rstrip(":")).name
    if executable in ("postgres", "redis-server", "py-spy"):
        return executable
    # Only the first words, since a server's flags also name Postgres and Redis.
    start = words[:3]
    if "sharechat.bench.worker" in start:
        return "clients"
    if "benchmarks.yardstick" in start:
        return "yardstick"
    if "serve" in words and any("sharechat" in word for word in start):
        return "sharechat"
    return "others"
