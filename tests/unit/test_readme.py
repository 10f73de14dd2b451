"""The tables of the README match the code."""

import re
from pathlib import Path

from sharechat.config import options
from sharechat.domain.outcomes import CLOSES, PROBLEMS

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_lists_every_outcome_and_whether_to_retry() -> None:
    expected = [
        *((f"{p.status} `{p.slug}`", str(p.code or "none"), p.title, p.retry) for p in PROBLEMS),
        *(("close", str(c.code), c.reason, c.retry) for c in CLOSES),
    ]
    row = r"^\| (\d{3} \S+|close) \| (\S+) \| (.+?) \| (yes|no) \|$"
    rows = re.findall(row, README, re.MULTILINE)
    assert [(what, code, meaning, back == "yes") for what, code, meaning, back in rows] == expected


def test_the_readme_lists_every_option_and_its_variable() -> None:
    for option in options():
        assert f"`{option.opts[0]}`" in README
        assert f"`{option.envvar}`" in README
