"""`sharechat`, with tracemalloc on: what was allocated since it first had 100 members.

    python -m benchmarks.traced REPORT serve ...

Whenever the number of sockets has not changed for a second and is past MEMBERS, the lines
that hold most since it was few are written to the file REPORT.
"""

import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path

_FEW = 40
_MANY = 500
_LINES = 40


def watch(report: Path) -> None:
    before = None
    sockets = 0
    while True:
        time.sleep(1)
        sockets, was = len(os.listdir("/proc/self/fd")), sockets
        if sockets != was:
            continue
        if sockets < _FEW:
            before = tracemalloc.take_snapshot()
        elif sockets > _MANY and before and not report.exists():
            now = tracemalloc.take_snapshot()
            rows = now.compare_to(before, "lineno")
            total = sum(row.size_diff for row in rows)
            text = [f"{total / sockets:,.0f} bytes by {sockets} sockets, of which by line:"]
            for row in rows[:_LINES]:
                frame = row.traceback[0]
                per, blocks = row.size_diff / sockets, row.count_diff / sockets
                text.append(f"{per:8,.0f} B {blocks:6.1f} blocks  {frame.filename}:{frame.lineno}")
            report.write_text("\n".join(text))


if __name__ == "__main__":
    tracemalloc.start()
    threading.Thread(target=watch, args=[Path(sys.argv.pop(1))], daemon=True).start()
    from sharechat.cli import main

    main()
