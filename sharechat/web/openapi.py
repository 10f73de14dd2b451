"""The OpenAPI 3.1 document: made from the operations, the types and the table of outcomes."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

import msgspec
from quart import Blueprint, Response

from sharechat.domain.messages import to_json
from sharechat.domain.outcomes import Problem, ProblemDetails
from sharechat.web import problems
from sharechat.web.operations import ANYWHERE, OPERATIONS, Answer, Operation, Parameter
from sharechat.web.request_log import REQUEST_ID_HEADER

Json = dict[str, Any]

_ABOUT = """\
Rooms without accounts: one POST makes a room, one websocket joins it, and a member's name lasts as
long as its connection.

What is refused is answered with a problem (RFC 9457). With a `Retry-After` it makes sense to
try again."""

_ROOM_KEY = "roomKey"


def blueprint() -> Blueprint:
    """Return the route that serves the document."""
    api = Blueprint("openapi", __name__, url_prefix="/api")
    body = to_json(document())

    @api.get("/openapi.json")
    async def openapi() -> Response:
        return Response(body, content_type="application/json")

    return api


def document() -> Json:
    """Return the document."""
    types = [answer.type for each in OPERATIONS for answer in each.answers if answer.type]
    _, schemas = _schemas([ProblemDetails, *types])
    paths: defaultdict[str, Json] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sharechat",
            "version": version("sharechat"),
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name} for name in dict.fromkeys(each.group for each in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": {name: _tidied(schema) for name, schema in schemas.items()},
            "securitySchemes": {_ROOM_KEY: {"type": "http", "scheme": "bearer"}},
        },
    }


_REFERENCE = "#/components/schemas/{name}"


def _schemas(types: Sequence[Any]) -> tuple[tuple[Json, ...], Json]:
    """Return the schema of each type, and those of the structs that they refer to, by name."""
    return msgspec.json.schema_components(types, ref_template=_REFERENCE)


def _tidied(schema: Json) -> Json:
    """Return msgspec's schema of a type with its docstring as Markdown."""
    if "description" in schema:
        return {**schema, "description": inspect.cleandoc(schema["description"])}
    return schema


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.title,
    }
    if operation.meaning:
        described["description"] = operation.meaning
    if operation.parameters:
        described["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.needs_key:
        described["security"] = [{_ROOM_KEY: []}]
    answers = {str(each.status): _answer(each, operation.links) for each in operation.answers}
    refusals = by_status([*operation.problems, *ANYWHERE])
    described["responses"] = answers | {
        str(status): _refusal(refused) for status, refused in refusals.items()
    }
    return described


def by_status(refusals: Sequence[Problem]) -> dict[int, list[Problem]]:
    """Return the problems that each status stands for, in order."""
    found: defaultdict[int, list[Problem]] = defaultdict(list)
    for problem in sorted(refusals, key=lambda problem: problem.status):
        found[problem.status].append(problem)
    return found


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": "path" if parameter.in_path else "query",
        "required": parameter.in_path,
        "description": parameter.meaning,
        "schema": parameter.schema,
    }


def _header(meaning: str, *, required: bool = True) -> Json:
    return {"description": meaning, "required": required, "schema": {"type": "string"}}


def _answer(answer: Answer, links: Sequence[str]) -> Json:
    described: Json = {
        "description": answer.meaning,
        "headers": {
            **{name: _header(meaning) for name, meaning in answer.headers},
            **{name: _header(what, required=False) for name, what in answer.optional_headers},
            REQUEST_ID_HEADER: _header("By what the server's log knows the request."),
        },
    }
    if answer.type:
        (schema,), _ = _schemas([answer.type])
        described["content"] = {"application/json": {"schema": schema}}
    if links:
        parameters = {"roomId": "$response.body#/roomId"}
        described["links"] = {
            name: {"operationId": name, "parameters": parameters} for name in links
        }
    return described


def _refusal(refused: Sequence[Problem]) -> Json:
    """Return the response for problems that have the same status."""
    status = refused[0].status
    narrowing = {"type": {"enum": [each.uri for each in refused]}, "status": {"const": status}}
    described: Json = {
        "description": " ".join(f"`{each.slug}`: {each.title}." for each in refused),
        "content": {
            problems.CONTENT_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": _REFERENCE.format(name=ProblemDetails.__name__)},
                        {"properties": narrowing},
                    ]
                }
            }
        },
    }
    if any(each.retry for each in refused):
        always = all(each.retry for each in refused)
        meaning = "Seconds after which to try again."
        described["headers"] = {"Retry-After": _header(meaning, required=always)}
    if status == HTTPStatus.UNAUTHORIZED:
        described["headers"] = {"WWW-Authenticate": _header("The scheme: Bearer.")}
    return described
