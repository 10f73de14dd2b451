"""Profile a server under one workload: py-spy's samples by function, or memory by line.

    python -m benchmarks.profile rooms                  # embedded
    python -m benchmarks.profile rooms --clustered
    python -m benchmarks.profile idle --memory          # with tracemalloc

Prints the functions with the most samples, first those in which they ended ("self"), then
those through which they went ("cumulative"). With --out it also writes the samples in the
collapsed format that flame graph viewers read.
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
"""Samples per second."""
_SHOWN_BELOW = 0.8
"""Share of all samples above which a function is not listed: it only leads to the others."""
_DELAY = 1.8
"""Seconds after which the members have joined and talk, by default."""
_DEFAULT_SECONDS = 8
_SECONDS_FOR_REPORT = 10

Samples = list[tuple[list[str], int]]
"""Stacks, from the outermost frame to the innermost, with their number of samples."""


def main() -> None:
    arguments = _parser().parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        flags: list[str] = []
        if arguments.clustered:
            flags = stack.enter_context(servers.running_stores()).flags("profiled")
        report = scratch / "report"
        if arguments.memory:
            program = ["-m", "benchmarks.traced", str(report)]
            server = stack.enter_context(servers.sharechat(flags, program=program))
        elif arguments.yardstick:
            server = stack.enter_context(servers.yardstick(flags or ["--memory"]))
        else:
            server = stack.enter_context(servers.sharechat(flags))
        workload = catalogue.make(arguments.workload, arguments.members)
        parameters = Parameters(arguments.seconds)
        if arguments.memory:
            print(workload.run(Target.parse(server.url), parameters))
            print(_wait_for(report))
            return
        out = arguments.out or scratch / "samples"
        seconds = max(1, int(arguments.seconds + 0.9 - arguments.delay))
        command = _py_spy(server.pid, out, seconds, native=arguments.native)
        _sample(command, server, workload, parameters, delay=arguments.delay, seconds=seconds)
        _print(_read(out), top=arguments.top, lines=arguments.lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", choices=[*catalogue.WORKLOADS])
    parser.add_argument("--clustered", action="store_true", help="over Postgres and Redis")
    parser.add_argument("--yardstick", action="store_true", help="instead of sharechat")
    parser.add_argument("--members", type=int, help="how many members join")
    parser.add_argument("--seconds", type=float, default=_DEFAULT_SECONDS, help="to measure")
    parser.add_argument(
        "--delay", type=float, default=_DELAY, help="seconds before the first sample"
    )
    parser.add_argument("--top", type=int, default=15, help="how many functions to list")
    parser.add_argument("--native", action="store_true", help="include C functions")
    parser.add_argument("--lines", action="store_true", help="list lines instead of functions")
    parser.add_argument("--memory", action="store_true", help="use tracemalloc instead of py-spy")
    parser.add_argument("--out", type=Path, help="a file to write the samples to")
    return parser


def _py_spy(pid: int, out: Path, seconds: int, *, native: bool) -> list[str]:
    # Without --nonblocking: it would read stacks while they change, and get them wrong.
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid)]
    command += ["--format", "raw", "--output", str(out), "--rate", str(_RATE)]
    return [*command, "--duration", str(seconds), *(["--native"] if native else [])]


def _sample(
    py_spy: list[str],
    server: servers.Server,
    workload: Workload,
    parameters: Parameters,
    *,
    delay: float,
    seconds: int,
) -> None:
    """Run the workload, and py-spy after `delay`; print who used the processors meanwhile."""
    run = threading.Thread(target=lambda: print(workload.run(Target.parse(server.url), parameters)))
    run.start()
    time.sleep(delay)
    before = cpu.seconds_by_program()
    subprocess.run(py_spy, check=True, capture_output=True)
    print(f"processor time of running processes, in percent of {seconds} s:")
    for name, busy in (cpu.seconds_by_program() - before).most_common(12):
        print(f"{100 * busy / seconds:6.1f}%  {name}")
    run.join()


def _read(out: Path) -> Samples:
    samples = []
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        samples.append((stack.split(";"), int(count)))
    return samples


def _wait_for(report: Path) -> str:
    """Return the report, which may be late since snapshots are slow, or why there is none."""
    deadline = time.monotonic() + _SECONDS_FOR_REPORT
    while time.monotonic() < deadline:
        if report.exists():
            return report.read_text()
        time.sleep(0.1)
    return "no report: it takes 500 open sockets that stay for some seconds"


def _print(samples: Samples, *, top: int, lines: bool) -> None:
    own: Counter[str] = Counter()
    cumulative: Counter[str] = Counter()
    total = sum(count for _, count in samples)
    for stack, count in samples:
        names = [_name(frame, lines=lines) for frame in stack]
        own[names[-1]] += count
        for name in set(names):
            cumulative[name] += count
    print(f"{total} samples")
    for title, counter in (("self", own), ("cumulative", cumulative)):
        print(f"-- {title}")
        shown = [pair for pair in counter.most_common() if pair[1] < _SHOWN_BELOW * total]
        for name, count in shown[:top]:
            print(f"{100 * count / total:6.1f}%  {name}")


def _name(frame: str, *, lines: bool) -> str:
    frame = re.sub(r"\S*/site-packages/|\S*/lib/python3\.\d+/", "", frame)
    return frame if lines else re.sub(r":\d+\)$", ")", frame)


if __name__ == "__main__":
    main()
