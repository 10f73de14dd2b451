"""What was sent is freed by reference counting: it does not wait for the cycle collector."""

import gc
from contextlib import AsyncExitStack

import trio

from sharechat.actors.controller import Controller
from sharechat.actors.policy import Policy
from sharechat.adapters.memory import MemoryBus, MemoryQueue, MemoryRepository
from sharechat.domain import ids
from sharechat.domain.batch import Batch
from sharechat.domain.messages import RoomInfo
from tests.harness.pair import websockets
from tests.harness.peer import text


def batches() -> int:
    return sum(type(tracked) is Batch for tracked in gc.get_objects())


async def test_no_batch_outlives_its_members() -> None:
    repository = MemoryRepository()
    controller = Controller(repository, MemoryQueue(MemoryBus()), Policy(message_rate=0))
    room = RoomInfo(ids.new_room_id(), "Quiet Harbour")
    await repository.create_room(room, b"")
    async with AsyncExitStack() as stack:
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        async with trio.open_nursery() as nursery:
            await nursery.start(controller.run)
            async with trio.open_nursery() as serving:
                peers = []
                for _ in range(4):
                    connection, peer = await stack.enter_async_context(websockets(buffers=4096))
                    serving.start_soon(controller.serve_room, room, connection)
                    await peer.hear_text()
                    peers.append(peer)
                most = 0
                for number in range(100):  # More than may wait, so that members are closed, too.
                    await peers[0].try_to_send(text("x" * 16_000))
                    if number % 20 == 19:  # To count takes a while.
                        most = max(most, batches())
                for peer in peers:
                    peer.drop()
            assert most > 10
            assert batches() == 0
            nursery.cancel_scope.cancel()
