"""The documents name only files and modules that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]


def paths(text: str) -> Iterator[str]:
    """Yield what stands in backticks and looks like a path of the repository."""
    yield from re.findall(r"`((?:sharechat|tests|benchmarks|deploy|docs)/[\w./-]*)`", text)


def links(text: str) -> Iterator[str]:
    """Yield the targets of links that stay within the repository."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_files_that_exist(document: Path) -> None:
    text = document.read_text()
    missing = [path for path in paths(text) if not (ROOT / path).exists()]
    missing += [link for link in links(text) if not (document.parent / link).exists()]
    assert not missing
