"""Run the Autobahn suite against the echo, and write docs/autobahn.md.

The suite is a program for Python 2.7, which is looked for under the name that AUTOBAHN_PYTHON has;
where there is none, or the suite cannot be installed, nothing is run.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import trio

from sharechat.net.listeners import bind
from tests.autobahn import echo

SUITE = "autobahntestsuite==25.10.1"

SECTIONS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing handshake",
    9: "Limits and performance",
    10: "Miscellaneous",
    12: "Compression, different payloads",
    13: "Compression, different parameters",
}
"""Those of the suite; it has no sections 8 and 11."""

_ONE_PONG = "by design: one pong answers all pings that come in one read (RFC 6455, section 5.5.3)"

DEVIATIONS = {"2.10": _ONE_PONG, "2.11": _ONE_PONG}
"""Why a case has another result than OK, by the case."""

GOOD = ("OK", "INFORMATIONAL")
"""Informational are cases in which RFC 6455 leaves the choice to the server."""

ROOT = Path(__file__).parents[2]
TIMEOUT = 3600
"""Seconds that the suite may take."""


def install(python: str, target: Path) -> str | None:
    """Install the suite into a folder; return why that cannot be done, None if it has been."""
    check = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    try:
        if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode:
            return f"{python} is not Python 2.7"
    except OSError:
        return f"there is no {python}"
    if (target / "autobahntestsuite").exists():
        return None
    command = [python, "-m", "pip", "install", "--quiet", "--target", str(target), SUITE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{SUITE} cannot be installed: {(done.stderr.strip() or '?').splitlines()[-1]}"
    return None


async def run_suite(python: str, target: Path, cases: list[str]) -> dict[str, dict[str, str]]:
    """Return the suite's report for each case."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        spec = {
            "outdir": f"{folder}/reports",
            "servers": [{"agent": "sharechat", "url": f"ws://127.0.0.1:{port}"}],
            "cases": cases,
        }
        file = Path(folder, "spec.json")
        await trio.Path(file).write_text(json.dumps(spec))
        # Some of what it needs is found by way of .pth files.
        start = (
            f"import site; site.addsitedir({str(target)!r}); from autobahntestsuite import wstest"
        )
        command = [python, "-c", f"{start}; wstest.run()", "-m", "fuzzingclient", "-s", str(file)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.run, listener)
            with trio.fail_after(TIMEOUT):
                await trio.run_process(command, cwd=folder)
            nursery.cancel_scope.cancel()
        index = json.loads(await trio.Path(folder, "reports", "index.json").read_text())
    reports: dict[str, dict[str, str]] = index["sharechat"]
    return reports


def result(report: Mapping[str, str]) -> str:
    """Return the worse of what the suite thinks of the messages and of the close."""
    bad = [report[name] for name in ("behavior", "behaviorClose") if report[name] not in GOOD]
    return bad[0] if bad else report["behavior"]


def table(results: Mapping[str, str]) -> str:
    """Return the page for docs."""
    lines = [
        "# The Autobahn suite",
        "",
        f"What {SUITE.replace('==', ' ')} finds when it tests an echo over the real acceptor,",
        "handshake, `Decoder` and `DirectConnection` (`tests/autobahn/echo.py`). `make autobahn`",
        "runs it and writes this page; it needs Python 2.7.",
        "",
        "| section | cases | OK | informational | other |",
        "|---|---|---|---|---|",
    ]
    for number, title in SECTIONS.items():
        found = Counter(value for case, value in results.items() if section(case) == number)
        other = found.total() - found["OK"] - found["INFORMATIONAL"]
        counts = (found.total(), found["OK"], found["INFORMATIONAL"], other)
        lines.append(f"| {number}. {title} | {' | '.join(map(str, counts))} |")
    others = {case: value for case, value in results.items() if value not in GOOD}
    if others:
        lines += ["", "| case | result | reason |", "|---|---|---|"]
        for case in sorted(others, key=lambda case: [int(part) for part in case.split(".")]):
            reason = DEVIATIONS.get(case, "unexpected")
            lines.append(f"| {case} | {others[case].lower()} | {reason} |")
    return "\n".join([*lines, ""])


def section(case: str) -> int:
    return int(case.partition(".")[0])


def main() -> int:
    python = os.environ.get("AUTOBAHN_PYTHON") or "python2.7"
    target = Path(sys.prefix, "autobahn")
    if missing := install(python, target):
        print(f"skipped: {missing} (set AUTOBAHN_PYTHON)")
        return 0
    cases = sys.argv[1:]
    reports = trio.run(run_suite, python, target, cases or [f"{number}.*" for number in SECTIONS])
    results = {case: result(report) for case, report in reports.items()}
    if not cases:
        (ROOT / "docs" / "autobahn.md").write_text(table(results))
    unexpected = {
        case: value
        for case, value in results.items()
        if value not in GOOD and case not in DEVIATIONS
    }
    print(f"{len(results)} cases, unexpected: {unexpected or 'none'}")
    return 1 if unexpected or not results else 0


if __name__ == "__main__":
    sys.exit(main())
