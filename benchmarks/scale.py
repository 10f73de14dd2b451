"""Proof of scale on one machine: four processes over a real Postgres and a real Redis.

    python -m benchmarks.scale                      # all three workloads, at full size
    python -m benchmarks.scale --scale 0.1          # with a tenth of the members and of the time
    python -m benchmarks.scale --only soak --rate 2000

soak: 20,000 members in 2,000 rooms, of whom 5 % talk at 70 % load for ten minutes. comeback: all
servers are restarted, and 10,000 members come back at once. large-room: one talks to 10,000. Each
runs on new servers and a new database. Prints the figures and writes benchmarks/scale.json. Exits
with 1 if a check failed: something was lost, repeated or reordered, or somebody did not come back.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import servers, svg
from benchmarks.__main__ import machine, progress
from sharechat.bench import command
from sharechat.bench.results import Result
from sharechat.bench.scale import Comeback, LargeRoom, Soak
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters
from tests.harness.ports import free_port

_RESULTS = Path(__file__).resolve().parent / "scale.json"
_LIMITS = ("--max-members", "20000", "--max-per-address", "20000")
"""Here all members are at a few addresses, and the kernel may give one process most of them."""
_FEWEST = 20
"""Members, however small the scale."""
_SHORTEST = 2.0
"""Seconds, however small the scale."""
_POINTS = 11
"""Points of the plot of the memory."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the workloads; return the exit code."""
    arguments = _parser().parse_args(words)
    report: dict[str, object] = {
        "machine": machine(),
        "workers": arguments.workers,
        "scale": arguments.scale,
    }
    results = []
    with servers.running_stores() as stores:
        for name in [arguments.only] if arguments.only else _WORKLOADS:
            result = _run(name, arguments, stores)
            command.show([(result, None)])
            report[name] = result.as_json()
            results.append(result)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nResults written to {arguments.out}.")
    for result in results:
        if arguments.plot and "memory" in result.details:
            arguments.plot.write_text(_plot(result))
    return 1 if any(result.wrong for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of members and time (default: 1)")
    parser.add_argument("--only", choices=_WORKLOADS, help="run one workload instead of all")
    parser.add_argument(
        "--seconds", type=float, help="to talk (default: 600 for soak, 60 for large-room, to scale)"
    )
    parser.add_argument(
        "--rate", type=float, help="messages a second (default: 70 %% of what the server carries)"
    )
    parser.add_argument("--workers", type=int, default=4, help="server processes (default: 4)")
    parser.add_argument("--processes", type=int, default=2, help="client processes (default: 2)")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="where to write the results")
    parser.add_argument("--plot", type=Path, help="where to draw the server's memory in a soak")
    return parser


_WORKLOADS: Mapping[str, type[Soak] | type[Comeback]] = {
    kind.name: kind for kind in (Soak, Comeback, LargeRoom)
}


def _run(name: str, arguments: argparse.Namespace, stores: servers.Stores) -> Result:
    """Run one workload on servers of its own."""
    flags = [
        *stores.flags(name.replace("-", "_")),
        "--workers",
        str(arguments.workers),
        *_LIMITS,
    ]
    kind = _WORKLOADS[name]
    members = max(_FEWEST, round(kind.members * arguments.scale))
    seconds = arguments.seconds
    if seconds is None and issubclass(kind, Soak):
        seconds = max(_SHORTEST, kind.seconds * arguments.scale)
    parameters = Parameters(seconds, arguments.processes, rate=arguments.rate)
    port = free_port()
    with ExitStack() as running:

        def start() -> servers.Server:
            return running.enter_context(servers.sharechat(flags, port=port))

        def restart() -> None:
            progress("restarting the servers")
            running.close()
            start()

        target = Target.parse(start().url)
        progress(f"{name}: {members} members, {arguments.workers} processes")
        if issubclass(kind, Comeback):
            return kind(members=members, restart=restart).run(target, parameters)
        return kind(members=members).run(target, parameters)


def _plot(result: Result) -> str:
    """Return the server's memory over time as SVG."""
    samples = result.details["memory"]
    assert isinstance(samples, list)
    steps = min(_POINTS, len(samples))
    chosen = [samples[round(n * (len(samples) - 1) / max(1, steps - 1))] for n in range(steps)]
    return svg.line_plot(
        "Memory of all server processes during the soak",
        "minutes",
        "MB",
        [f"{seconds / 60:.1f}" for seconds, _ in chosen],
        {"resident": [size for _, size in chosen]},
    )


def _end(*_: object) -> None:
    """End like after Ctrl-C, so that nothing is left running."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
