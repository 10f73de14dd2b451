"""A test that hangs fails by its time limit, and the run goes on."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import time_limit
from tests.harness.deadline import DEADLINE

HANGING = """
import time

import pytest
import trio

pytestmark = pytest.mark.time_limit(0.2)


def test_without_trio():
    time.sleep(100)


async def test_in_trio(nursery):
    nursery.start_soon(trio.sleep_forever)
    await trio.sleep_forever()


async def test_whose_clock_stands_still(mock_clock):
    with trio.move_on_after(1):
        await trio.sleep_forever()


async def test_that_lets_no_other_task_run():
    while True:
        pass


@pytest.mark.time_limit(20)
async def test_that_passes():
    await trio.sleep(0.01)
"""


def test_tests_that_hang_fail_one_by_one(tmp_path: Path) -> None:
    shutil.copy(str(time_limit.__file__), tmp_path / "conftest.py")
    (tmp_path / "test_hanging.py").write_text(HANGING)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-o", "trio_mode=true"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert done.stdout.count("TimeoutError: the test took more than 0.2 seconds") >= 4
    assert "4 failed, 1 passed" in done.stdout
