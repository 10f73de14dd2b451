"""/api/openapi.json is a valid document of the routes, and docs/api.md is its latest text."""

import re
from collections.abc import Iterator
from typing import Any

from openapi_spec_validator import validate

from sharechat.bootstrap import build
from sharechat.config import Settings
from sharechat.domain.outcomes import PROBLEM_OF, PROBLEMS
from sharechat.web.openapi import document
from tests.harness import api_docs

DOCUMENT = document()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def problem_types(operation: Any) -> Iterator[tuple[int, str]]:
    """Yield the status and the type of each problem that an operation may be answered with."""
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if "application/problem+json" in content:
            _, narrowing = content["application/problem+json"]["schema"]["allOf"]
            for uri in narrowing["properties"]["type"]["enum"]:
                yield int(status), uri


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_it_has_exactly_the_routes_of_the_api_and_their_methods() -> None:
    routes = {
        (method, re.sub(r"<(\w+)_id>", r"{\1Id}", rule.rule))
        for rule in build(Settings(in_memory=True)).app.url_map.iter_rules()
        if not rule.endpoint.startswith("pages.")  # For people.
        for method in (rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in OPERATIONS} == routes


def test_it_has_every_problem_with_its_status() -> None:
    found = {problem for *_, operation in OPERATIONS for problem in problem_types(operation)}
    assert found == {(problem.status, problem.uri) for problem in PROBLEMS}


def test_what_is_refused_on_the_way_into_a_room_is_a_refusal_of_joining() -> None:
    (joining,) = [each for *_, each in OPERATIONS if each["operationId"] == "joinRoom"]
    described = {uri for _, uri in problem_types(joining)}
    refused = {problem.uri for problem in PROBLEM_OF.values() if problem.code is not None}
    assert refused <= described


def test_the_page_for_people_is_up_to_date() -> None:
    assert api_docs.PATH.read_text(encoding="utf-8") == api_docs.render(DOCUMENT), (
        "run make api-docs"
    )
