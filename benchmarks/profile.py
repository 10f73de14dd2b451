"""Where the server's time goes: py-spy's samples of one workload, by function.

    python -m benchmarks.profile rooms                  # embedded
    python -m benchmarks.profile rooms --clustered
    python -m benchmarks.profile idle --memory          # bytes by line, from tracemalloc

Prints the functions that have most of the samples themselves, and with what they call;
with --out also writes the samples, collapsed, for any flamegraph viewer.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks import cpu, servers
from sharechat.bench import catalogue
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters, Workload

_RATE = 400
_LEADING = 0.8
_JOINED_BY = 1.8
"""Seconds after which members have joined and talk, and the samples are worth taking."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[*catalogue.WORKLOADS])
    parser.add_argument("--clustered", action="store_true")
    parser.add_argument("--yardstick", action="store_true")
    parser.add_argument("--members", type=int)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--delay", type=float, default=_JOINED_BY)
    parser.add_argument("--top", type=int, default=15)
    parser.add_argument("--native", action="store_true", help="C functions, too")
    parser.add_argument("--lines", action="store_true", help="lines instead of functions")
    parser.add_argument("--memory", action="store_true", help="tracemalloc instead of py-spy")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    with ExitStack() as stack:
        flags = []
        if words.clustered:
            flags = stack.enter_context(servers.stores()).words("profiled")
        if words.memory:
            report = Path(tempfile.mkdtemp()) / "report"
            script = ["-m", "benchmarks.traced", str(report)]
            server = stack.enter_context(servers.sharechat(flags, script=script))
        elif words.yardstick:
            server = stack.enter_context(servers.yardstick(flags or ["--memory"]))
        else:
            server = stack.enter_context(servers.sharechat(flags))
        workload = catalogue.make(words.workload, words.members)
        parameters = Parameters(words.seconds)
        if words.memory:
            print(workload.run(Target.parse(server.url), parameters))
            print(report.read_text())
            return
        samples = _sampled(server, workload, parameters, words)
    _print(samples, words.top, words.lines)


def _sampled(
    server: servers.Server,
    workload: Workload,
    parameters: Parameters,
    words: argparse.Namespace,
) -> list[tuple[list[str], int]]:
    run = threading.Thread(target=lambda: print(workload.run(Target.parse(server.url), parameters)))
    run.start()
    time.sleep(words.delay)
    out = words.out or Path(tempfile.mkdtemp()) / "samples"
    py_spy = Path(sys.executable).with_name("py-spy")
    seconds = max(1, int(parameters.seconds + 0.9 - words.delay))
    command = [str(py_spy), "record", "--pid", str(server.pid), "--format", "raw"]
    command += ["--output", str(out), "--rate", str(_RATE), "--duration", str(seconds)]
    # Not --nonblocking: a stack that changes while it is read comes out torn.
    command += ["--native"] if words.native else []
    before = cpu.seconds()
    subprocess.run(command, check=True, capture_output=True)
    print(f"of {seconds} s, these were busy (and what has ended does not count):")
    for name, busy in (cpu.seconds() - before).most_common(12):
        print(f"{100 * busy / seconds:6.1f}%  {name}")
    run.join()
    samples = []
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        samples.append((stack.split(";"), int(count)))
    return samples


def _print(samples: list[tuple[list[str], int]], top: int, lines: bool) -> None:
    own: Counter[str] = Counter()
    with_callees: Counter[str] = Counter()
    total = sum(count for _, count in samples)
    for stack, count in samples:
        names = [_name(frame, lines) for frame in stack]
        own[names[-1]] += count
        for name in set(names):
            with_callees[name] += count
    print(f"{total} samples")
    for title, counter in (("self", own), ("cumulative", with_callees)):
        print(f"-- {title}")
        # Whatever is in nearly every stack only leads to the rest.
        shown = [pair for pair in counter.most_common() if pair[1] < _LEADING * total]
        for name, count in shown[:top]:
            print(f"{100 * count / total:6.1f}%  {name}")


def _name(frame: str, lines: bool) -> str:
    frame = re.sub(r"\S*/site-packages/|\S*/lib/python3\.\d+/", "", frame)
    return frame if lines else re.sub(r":\d+\)$", ")", frame)


if __name__ == "__main__":
    main()
