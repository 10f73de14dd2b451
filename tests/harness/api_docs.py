"""docs/api.md, the OpenAPI document as people read it. `make api-docs` writes it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sharechat.domain.outcomes import CLOSES, PROBLEMS
from sharechat.web.openapi import Json, document
from sharechat.web.operations import ANYWHERE

PATH = Path(__file__).parents[2] / "docs" / "api.md"

_PROBLEMS = {problem.uri: problem for problem in PROBLEMS}


def render(api: Json) -> str:
    """Return the text for an OpenAPI document."""
    return "\n".join(_lines(api)) + "\n"


def _lines(api: Json) -> Iterator[str]:
    operations = [
        (method.upper(), path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    yield from (
        "# The API",
        "",
        "<!-- Written by `make api-docs`; not to be edited. -->",
        "",
        api["info"]["description"],
        "",
        "`GET /api/openapi.json` is this page for machines (OpenAPI 3.1), and",
        "[asyncapi.yaml](asyncapi.yaml) describes the websocket.",
        "",
    )
    rows = [[f"`{method} {path}`", _link(each["summary"])] for method, path, each in operations]
    yield from _table(["request", "what for"], rows)
    anywhere = " and ".join(f"{each.status} `{each.slug}`" for each in ANYWHERE)
    yield from (
        "",
        f"Besides the answers below, any request may be refused with {anywhere}.",
        "By the `X-Request-Id` of an answer the server's log knows the request.",
    )
    for tag in api["tags"]:
        yield from ("", f"## {tag['name']}")
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                yield from _operation(method, path, operation)
    yield from ("", "## Problems", "")
    rows = [
        [f"{each.status} `{each.slug}`", str(each.code or "none"), each.title, _retry(each.retry)]
        for each in PROBLEMS
    ]
    yield from _table(["answer", "close code", "meaning", "try again?"], rows)
    yield from (
        "",
        "A close code is for clients that offer `sharechat.v1`: browsers hide the status from",
        "their pages. 4403 and 4421 are reserved; there it is always the status. 4450 comes to any",
        "client if the server finds only after the handshake that it has no space for the member.",
        "",
        "## Close codes",
        "",
    )
    rows = [[str(each.code), each.reason, _retry(each.retry)] for each in CLOSES]
    yield from _table(["close code", "reason", "try again?"], rows)
    yield from ("", "## Types")
    for name, schema in sorted(api["components"]["schemas"].items()):
        yield from ("", f"### {name}", "")
        yield from _type(schema)


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield from ("", f"### {operation['summary']}")
    if "description" in operation:
        yield from ("", operation["description"])
    yield from ("", "```sh", _command(method, path, operation), "```")
    if parameters := operation.get("parameters", []):
        rows = [
            [f"`{each['name']}`", each["in"], _schema(each["schema"]), each["description"]]
            for each in parameters
        ]
        yield ""
        yield from _table(["parameter", "in", "type", "meaning"], rows)
    yield ""
    rows = [row for status, each in operation["responses"].items() for row in _answer(status, each)]
    yield from _table(["answer", "body", "meaning"], rows)


def _command(method: str, path: str, operation: Json) -> str:
    """Return what somebody would type to try it."""
    target = f"//127.0.0.1:8080{path.replace('{roomId}', '$ROOM')}"
    if "101" in operation["responses"]:
        return f"websocat ws:{target}"
    words = ["curl"]
    if method != "GET":
        words += ["-X", method]
    if "security" in operation:
        words += ["-H", '"Authorization: Bearer $KEY"']
    return " ".join([*words, f"http:{target}"])


def _answer(status: str, answer: Json) -> Iterator[list[str]]:
    """Yield the rows for a response: one, or one for each problem that is not met anywhere."""
    content = answer.get("content", {})
    if "application/problem+json" in content:
        _, narrowing = content["application/problem+json"]["schema"]["allOf"]
        for uri in narrowing["properties"]["type"]["enum"]:
            problem = _PROBLEMS[uri]
            if problem not in ANYWHERE:
                retry = " (try again)" if problem.retry else ""
                yield [status, f"problem `{problem.slug}`", problem.title + retry]
        return
    body = _schema(content["application/json"]["schema"]) if content else "none"
    headers = [
        f"Header `{name}`: {header['description']}"
        for name, header in answer["headers"].items()
        if name != "X-Request-Id"
    ]
    yield [status, body, " ".join([answer["description"], *headers])]


def _retry(retry: bool) -> str:
    return "yes" if retry else "no"


def _type(schema: Json) -> Iterator[str]:
    if "description" in schema:
        yield from (schema["description"], "")
    if "enum" in schema:
        yield _schema(schema)
        return
    columns = ["key", "type"]
    if any("description" in each for each in schema["properties"].values()):
        columns.append("meaning")
    rows = [
        [f"`{key}`", _schema(each), each.get("description", "")][: len(columns)]
        for key, each in schema["properties"].items()
    ]
    yield from _table(columns, rows)


def _schema(schema: Json) -> str:
    """Return a schema as it stands in a cell of a table."""
    match schema:
        case {"$ref": str(target)} | {"allOf": [{"$ref": str(target)}, *_]}:
            return _link(target.rpartition("/")[2])
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"array of {_schema(items)}"
        case {"minimum": least, "maximum": most}:
            return f"{schema['type']} from {least} to {most}"
        case _:
            return " ".join(filter(None, [schema["type"], _format(schema)]))


def _format(schema: Json) -> str:
    return f"({schema['format']})" if "format" in schema else ""


def _link(title: str) -> str:
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    PATH.write_text(render(document()), encoding="utf-8")
