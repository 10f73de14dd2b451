"""Answers what others say in a room.

python examples/echo_bot.py https://chat.example/room/<id>
"""

import sys

import trio

from sharechat import client

PREFIX = "You said: "


async def main(address: str) -> None:
    async with client.join(address) as room:
        async for message in room:
            # The bot is another member after each reconnection; its answers have the prefix.
            if message.type == "chat" and not message.text.startswith(PREFIX):
                await room.say(PREFIX + message.text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        trio.run(main, sys.argv[1])
    except client.ClientError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
