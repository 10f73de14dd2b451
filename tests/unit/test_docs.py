"""The documents name only files, modules and identifiers that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
SOURCES = {
    path: path.read_text()
    for folder in ("sharechat", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".sql") and path != Path(__file__)
}

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def paths(text: str) -> Iterator[str]:
    """Yield what stands in backticks and looks like a path of the repository."""
    yield from re.findall(r"`((?:sharechat|tests|benchmarks|examples|deploy|docs)/[\w./-]*)`", text)


def links(text: str) -> Iterator[str]:
    """Yield the targets of links that stay within the repository."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            yield target


def modules(text: str) -> Iterator[str]:
    """Yield what stands in backticks and is the end of a source file's path."""
    yield from re.findall(r"`([\w/]+\.(?:py|sql))`", text)


def identifiers(text: str) -> Iterator[str]:
    """Yield what stands in backticks and has the form `CamelCase`, `snake_case` or `a.b`."""
    for name in re.findall(r"`([a-zA-Z_][\w.]*)(?:\([^`\n]*\))?`", text):
        if re.search(r"[A-Z_.]", name) and not name.endswith((".py", ".sql", ".md", ".toml")):
            yield name


def occurs(identifier: str) -> bool:
    """Return whether the sources have it; `a.b` may also be a `b` in the file of `a`."""
    pattern = re.compile(rf"\b{re.escape(identifier)}\b")
    if any(pattern.search(source) for source in SOURCES.values()):
        return True
    owner, _, name = identifier.rpartition(".")
    return bool(owner) and any(
        re.search(rf"\b{name}\b", source)
        for path, source in SOURCES.items()
        if path.stem == owner or re.search(rf"^class {re.escape(owner)}\b", source, re.MULTILINE)
    )


@each_document
def test_a_document_names_only_files_that_exist(document: Path) -> None:
    text = document.read_text()
    missing = [path for path in paths(text) if not (ROOT / path).exists()]
    missing += [link for link in links(text) if not (document.parent / link).exists()]
    missing += [end for end in modules(text) if not any(path.match(end) for path in SOURCES)]
    assert not missing


@each_document
def test_a_document_names_only_identifiers_that_exist(document: Path) -> None:
    assert [name for name in identifiers(document.read_text()) if not occurs(name)] == []
