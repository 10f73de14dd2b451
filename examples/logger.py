"""Appends a room's messages to a file, one line of JSON each, and goes on where it stopped.

python examples/logger.py https://chat.example/room/<id> room.jsonl
"""

import json
import sys
from typing import BinaryIO

import msgspec
import trio

from sharechat import client


def last_id(file: BinaryIO) -> str | None:
    """Return the last message's id, None if there is none; cut off a line that is incomplete."""
    last, end = None, 0
    for line in file:
        if line.endswith(b"\n"):
            last, end = line, end + len(line)
    file.truncate(end)
    return None if last is None else str(json.loads(last)["id"])


async def log(address: str, file: BinaryIO) -> None:
    async with client.join(address, after=last_id(file)) as room:
        async for message in room:
            file.write(msgspec.json.encode(message) + b"\n")
            file.flush()


def main(address: str, path: str) -> None:
    with open(path, "a+b") as file:
        file.seek(0)
        trio.run(log, address, file)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2])
    except client.ClientError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
