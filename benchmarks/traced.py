"""`sharechat` under tracemalloc: which lines allocate the memory that members cost.

    python -m benchmarks.traced REPORT serve ...

Compares the allocations once many members have joined with those while there were few, and
writes the lines that allocated most to the file REPORT. The number of open file descriptors
tells how many members there are; a second without a change tells that all have joined.
"""

import os
import sys
import threading
import time
import tracemalloc
from pathlib import Path

_FEW = 40
"""Below this number of file descriptors the first snapshot is taken."""
_MANY = 500
"""Above this number of file descriptors the report is written."""
_LINES = 40
"""How many lines of code the report names."""


def watch(report: Path) -> None:
    """Watch this process's file descriptors for ever, and write `report` once."""
    before = None
    open_files = 0
    while True:
        time.sleep(1)
        open_files, previously = len(os.listdir("/proc/self/fd")), open_files
        if open_files != previously:
            continue
        if open_files < _FEW:
            before = tracemalloc.take_snapshot()
        elif open_files > _MANY and before and not report.exists():
            text = _compare(before, tracemalloc.take_snapshot(), open_files)
            unfinished = report.with_suffix(".unfinished")
            unfinished.write_text(text)
            unfinished.rename(report)  # Whoever waits for it sees it complete.


def _compare(before: tracemalloc.Snapshot, after: tracemalloc.Snapshot, sockets: int) -> str:
    rows = after.compare_to(before, "lineno")
    total = sum(row.size_diff for row in rows)
    text = [f"{total / sockets:,.0f} bytes per socket ({sockets} sockets); by line:"]
    for row in rows[:_LINES]:
        frame = row.traceback[0]
        size, blocks = row.size_diff / sockets, row.count_diff / sockets
        text.append(f"{size:8,.0f} B {blocks:6.1f} blocks  {frame.filename}:{frame.lineno}")
    return "\n".join(text)


if __name__ == "__main__":
    tracemalloc.start()
    threading.Thread(target=watch, args=[Path(sys.argv.pop(1))], daemon=True).start()
    # Imported only now, so that the allocations of its imports are traced, too.
    from sharechat.cli import main

    main()
