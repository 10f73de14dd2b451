"""Who uses the processors: seconds by program, from /proc."""

import os
from collections import Counter
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def seconds() -> Counter[str]:
    """Return the seconds used so far, in user mode and in the kernel, by program."""
    used: Counter[str] = Counter()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            name = _name(stat.parent)
        except OSError:
            continue
        used[f"{name} user"] += int(words[11])
        used[f"{name} kernel"] += int(words[12])
    return Counter({name: ticks / _TICKS for name, ticks in used.items()})


def _name(process: Path) -> str:
    # Not by the whole command line: a server's flags name Postgres and Redis, too.
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    program = Path(words[0].split(" ")[0].rstrip(":")).name
    if program in ("postgres", "redis-server", "py-spy"):
        return program
    if "sharechat.bench.worker" in words:
        return "clients"
    if "benchmarks.yardstick" in words[:3]:
        return "yardstick"
    if "serve" in words and any("sharechat" in word for word in words[:3]):
        return "sharechat"
    return "others"
