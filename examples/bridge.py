"""Mirrors two rooms into each other, on one server or on two.

python examples/bridge.py https://one.example/room/<id> https://two.example/room/<id>
"""

import sys
from collections import OrderedDict
from uuid import UUID, uuid5

import trio

from sharechat import client

REMEMBERED = 10_000
"""How many copies are recognised as such."""

LIMIT = 16 * 1024
"""Bytes that a message may have; a copy that is longer for its author's name is cut off."""


class Copies:
    """The ids of the latest copies, by which they are not copied back."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, id_: str) -> None:
        self._ids[id_] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids


async def mirror(source: client.JoinedRoom, target: client.JoinedRoom, copies: Copies) -> None:
    async for message in source:
        if message.type != "chat" or message.id in copies:
            continue
        # Derived from the original's, so that however often it is said it is stored once.
        id_ = str(uuid5(UUID(message.id), target.address.room_id))
        copies.add(id_)  # Before it is said: the other direction may hear it at once.
        text = f"{message.member_name}: {message.text}".encode()[:LIMIT].decode(errors="ignore")
        await say(target, text, id_)


async def say(room: client.JoinedRoom, text: str, id_: str) -> None:
    """Say something again and again until it is stored."""
    while True:
        try:
            await room.say(text, id=id_)
            return
        except client.NotStoredError as error:
            print(f"{room.address}: {error}", file=sys.stderr)
            await trio.sleep(1)


async def main(one: str, two: str) -> None:
    copies = Copies()
    async with client.join(one) as here, client.join(two) as there, trio.open_nursery() as nursery:
        nursery.start_soon(mirror, here, there, copies)
        nursery.start_soon(mirror, there, here, copies)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        trio.run(main, sys.argv[1], sys.argv[2])
    except client.ClientError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
