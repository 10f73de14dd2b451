"""The janitor when one of its calls fails: what it could not do is done in the next round."""

import trio
from trio.testing import MockClock

from sharechat.actors.policy import Policy
from sharechat.domain.errors import UnavailableError
from tests.harness.house import UNLIMITED, RemoteMember, open_house

ROUND = UNLIMITED.lease_interval


async def test_a_reconciliation_that_failed_is_repeated_in_the_next_round(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        ghost = RemoteMember(house.repository, room)
        ghost.process_id = house.nodes[0].controller.lease.process_id
        await ghost.joins()
        failed = house.repository.at_next("get_members_of", error=UnavailableError("away"))
        with trio.fail_after(UNLIMITED.reconcile_interval + ROUND):
            await failed.reached.wait()
        await here.hears("Fox left the room.", within=ROUND + 0.1)


async def test_a_removal_of_stale_rooms_that_failed_is_repeated_in_the_next_round(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=Policy(unjoined_ttl=0)) as house:
        await trio.sleep(1)  # The first removal is over; the next one is in a minute.
        room = await house.repository.make_room()
        failed = house.repository.at_next("remove_stale_rooms", error=UnavailableError("away"))
        with trio.fail_after(60 + ROUND):
            await failed.reached.wait()
        await trio.sleep(ROUND + 0.1)
        assert not await house.repository.get_rooms([room])
