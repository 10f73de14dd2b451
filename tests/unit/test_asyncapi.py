"""docs/asyncapi.yaml describes the websocket as it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from sharechat.domain.messages import Message, MessageType, Welcome, to_json
from sharechat.domain.outcomes import CLOSES, PROBLEM_OF, PROBLEMS
from sharechat.domain.subprotocols import MAX_BYTES, MalformedError, SharechatV1
from sharechat.web.websocket import MEMBER_ID_HEADER, MEMBER_NAME_HEADER

DOCUMENT: Any = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")
)
CHANNELS = DOCUMENT["channels"]
SCHEMAS = DOCUMENT["components"]["schemas"]
MESSAGES = DOCUMENT["components"]["messages"]
FROM_CLIENTS = {"text", "frame"}


def references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for value in node.values():
                yield from references(value)
        case list():
            for value in node:
                yield from references(value)


def resolve(reference: str) -> Any:
    """Return what a reference within the document points at. Raises KeyError."""
    root, *path = reference.split("/")
    assert root == "#", reference
    node = DOCUMENT
    for name in path:
        node = node[name]
    return node


def examples(name: str) -> list[Any]:
    return [example["payload"] for example in MESSAGES[name]["examples"]]


def test_every_reference_resolves_and_every_component_is_referred_to() -> None:
    targets = set(references(DOCUMENT))
    for target in targets:
        resolve(target)
    for kind, components in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in components} <= targets


def test_each_message_of_a_channel_is_sent_or_received_by_one_operation() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    for channel in CHANNELS:
        directions: dict[str, list[str]] = {"send": [], "receive": []}
        for operation in DOCUMENT["operations"].values():
            if operation["channel"]["$ref"] == f"#/channels/{channel}":
                for message in operation["messages"]:
                    prefix, _, name = message["$ref"].rpartition("/")
                    assert prefix == f"#/channels/{channel}/messages"
                    directions[operation["action"]].append(name)
        used = directions["send"] + directions["receive"]
        assert sorted(used) == sorted(CHANNELS[channel]["messages"])
        assert set(directions["receive"]) == FROM_CLIENTS & set(CHANNELS[channel]["messages"])


def test_the_channels_have_every_message_type() -> None:
    types = set(MessageType)
    assert set(CHANNELS["plainText"]["messages"]) == types | {"text"}
    assert set(CHANNELS["sharechatV1"]["messages"]) == types | {"frame", "welcome"}
    assert set(SCHEMAS["Message"]["properties"]["type"]["enum"]) == types
    for type_ in types:
        narrowing = MESSAGES[type_]["payload"]["allOf"][1]
        assert narrowing == {"properties": {"type": {"const": type_}}}


@pytest.mark.parametrize("struct", [Message, Welcome])
def test_a_schema_has_exactly_the_keys_that_the_server_sends(struct: type) -> None:
    ours = msgspec.json.schema_components([struct])[1][struct.__name__]
    described = SCHEMAS[struct.__name__]
    assert list(described["properties"]) == list(ours["properties"])
    assert described["required"] == ours["required"]
    assert {keys["type"] for keys in described["properties"].values()} == {"string"}


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - FROM_CLIENTS))
def test_an_example_is_what_the_server_would_send(name: str) -> None:
    for example in examples(name):
        assert example["type"] == name
        struct = Welcome if name == "welcome" else Message
        assert json.loads(to_json(msgspec.convert(example, struct))) == example


def test_a_frame_has_exactly_the_keys_that_the_server_reads() -> None:
    described = SCHEMAS["Frame"]
    assert set(described["required"]) == set(described["properties"])
    assert described["additionalProperties"] is False
    read = SharechatV1().read
    for example in examples("frame"):
        assert set(example) == set(described["properties"])
        assert tuple(read(json.dumps(example))) == (example["id"], example["message"])
        wrong = [{k: v for k, v in example.items() if k != key} for key in example]
        wrong.append(example | {"another": "key"})
        for frame in wrong:
            with pytest.raises(MalformedError):
                read(json.dumps(frame))


def test_the_limit_of_a_message_is_the_servers() -> None:
    assert MESSAGES["text"]["payload"]["x-max-bytes"] == MAX_BYTES
    assert SCHEMAS["Frame"]["properties"]["message"]["x-max-bytes"] == MAX_BYTES


def test_the_handshake_has_the_servers_headers() -> None:
    assert SCHEMAS["AnswerHeaders"]["required"] == [MEMBER_ID_HEADER, MEMBER_NAME_HEADER]
    assert list(SCHEMAS["AnswerHeaders"]["properties"]) == [MEMBER_ID_HEADER, MEMBER_NAME_HEADER]
    v1 = CHANNELS["sharechatV1"]
    (offer,) = v1["bindings"]["ws"]["headers"]["properties"].values()
    (agreed,) = v1["x-answer-headers"]["allOf"][1]["properties"].values()
    assert offer["examples"] == [agreed["const"]] == [SharechatV1.name]


def test_every_close_code_is_described_as_in_the_table_of_outcomes() -> None:
    expected: list[dict[str, object]] = [
        {"code": close.code, "meaning": close.reason, "retry": close.retry} for close in CLOSES
    ]
    raised = set(PROBLEM_OF.values())
    for problem in PROBLEMS:
        if problem.code is not None:
            row: dict[str, object] = {
                "code": problem.code,
                "meaning": problem.title,
                "retry": problem.retry,
                "status": problem.status,
                "type": problem.uri,
            }
            expected.append(row if problem in raised else row | {"reserved": True})
    assert DOCUMENT["x-close-codes"] == expected
